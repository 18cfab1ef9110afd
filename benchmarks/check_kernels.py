"""What is left to gain in a check of the target: its convolutions by batch size, layout, and networks taken together.

Microseconds an image and network, of one thread's own time, for the network of fm-16 or c10-16 on random images:
``images`` at a time, contiguous and with channels last; four networks (stored states of four steps) as one with grouped
convolutions; and multiply-adds a second, beside those of plain float32 products.

    python -m benchmarks.check_kernels --out benchmarks/results/check_kernels.json        # a minute
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import thread_time

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measure import plain_products
from nino.allocator import keep_freed_memory
from nino.files import write_json
from nino.provenance import provenance

SHAPES = {"fm-16": (1, 28), "c10-16": (3, 32)}  # channels and side of the images
CHANNELS = (16, 32, 32)
TOGETHER = 4
IMAGES = 1000


def forward(x: Tensor, weights: list[Tensor], networks: int = 1) -> Tensor:
    """Features of the paper's ConvNet, or of several on the same images."""
    x = F.conv2d(x, weights[0], stride=2).relu()
    for weight in weights[1:]:
        x = F.conv2d(x, weight, padding=1, groups=networks).relu()
    return x.mean((2, 3))


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of this thread, after a first run."""
    times = []
    for _ in range(repeats + 1):
        begin = thread_time()
        work()
        times.append(thread_time() - begin)
    return median(times[1:])


def measure(task: str, repeats: int) -> dict[str, object]:
    """All figures of a network."""
    channels, side = SHAPES[task]
    x = torch.randn(IMAGES, channels, side, side)
    last = x.contiguous(memory_format=torch.channels_last)
    weights = [torch.randn(o, i, 3, 3) for i, o in zip((channels, *CHANNELS), CHANNELS, strict=False)]
    many = [torch.cat([weight] * TOGETHER) for weight in weights]

    def an_image(images: Tensor, size: int, weights: list[Tensor], networks: int = 1) -> float:
        work = lambda: [forward(part, weights, networks) for part in images.split(size)]  # noqa: E731
        return 1e6 * seconds(work, repeats) / IMAGES / networks

    inner = forward_positions(side)
    work = inner * sum(weight.numel() for weight in weights)
    by_size = {size: an_image(x, size, weights) for size in (32, 64, 125, 250, 500, 1000)}
    return {
        "task": task,
        "images": by_size,
        "channels_last": {size: an_image(last, size, weights) for size in (64, 250, 1000)},
        "four_together": an_image(x, 250, many, TOGETHER),
        "products_per_second": 1e6 * work / by_size[250],
        "plain_products_per_second": plain_products(128, 2048, "cpu"),
    }


def forward_positions(side: int) -> int:
    """Positions of each layer's output; all three have as many.

    >>> forward_positions(28)
    169
    """
    return ((side - 3) // 2 + 1) ** 2


def main() -> None:
    """Measure, print and, where asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    with torch.no_grad():
        rows = [measure(task, args.repeats) for task in SHAPES]
    for row in rows:
        print(row, flush=True)
    if args.out:
        write_json(args.out, {"figures": rows, **provenance(command="python -m benchmarks.check_kernels")})


if __name__ == "__main__":
    main()
