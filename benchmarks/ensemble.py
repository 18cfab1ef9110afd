"""Training M networks at once (``nino.ensemble``) beside training them one at a time, interleaved, as ratios.

Both do the same steps on the same batches, a few steps in turn each, so that what the machine does besides falls on
both alike; each turn's ratio is taken on its own, the median and the range over the turns are printed. ``speedup`` is
the seconds of M networks one at a time over those at once: above 1, stacking pays. Inputs are random, of the tasks'
shapes; at M = 1 both are the same code, a control.

    python -m benchmarks.ensemble                               # ConvNet and small GPT-2, M = 1 2 4 8, CPU
    python -m benchmarks.ensemble --device auto --members 1 8 32 --turns 20
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from nino.allocator import keep_freed_memory
from nino.device import accelerator_models, device_named
from nino.ensemble import Ensemble
from nino.measure import elapsed, wall_clock
from nino.specs import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec
from nino.tasks import Task
from nino.tasks.data import Blocks, Data, image_data
from nino.training import Training


def convnet(device: str) -> Task:
    """fm-16's shape: 1 x 28 x 28 images, ConvNet 16, 32, 32, batch 128, Adam."""
    generator = torch.Generator().manual_seed(0)

    def split(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (n, 1, 28, 28)
        images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        return images, torch.randint(10, (n,), generator=generator)

    data = image_data(split(4096), split(16), split(16), 10, {})
    model, recipe = ModelSpec("convnet", {"channels": [16, 32, 32]}), RecipeSpec("adam", 6e-3, 10_000, 128)
    return _task("fm-16-shaped", data, model, recipe, "accuracy", device)


def gpt2(device: str) -> Task:
    """A GPT-2 of 2 layers, width 32, byte vocabulary, 16 blocks of 64 tokens, AdamW, no dropout."""
    tokens = torch.randint(256, (512, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    blocks = Blocks(tokens)
    data = Data("language", blocks, blocks, blocks, (64,), 256, "random")
    model = ModelSpec("gpt2", {"layers": 2, "width": 32, "heads": 2})
    return _task("gpt2-2-32", data, model, RecipeSpec("adamw", 2e-4, 10_000, 16, 1e-2), "perplexity", device)


def _task(name: str, data: Data, model: ModelSpec, recipe: RecipeSpec, metric: str, device: str) -> Task:
    spec = TaskSpec(name, DataSpec("-"), model, recipe, TargetSpec(metric, 1.0), EvaluationSpec(1, 1))
    return Task(spec, data, device)


TASKS = {"convnet": convnet, "gpt2": gpt2}


def measure(task: Task, members: int, turns: int, steps: int) -> dict[str, Any]:
    """Seconds a step of one network, at once and alone, and the ratio, over interleaved turns."""
    together = Ensemble([Training(task, seed) for seed in range(members)])
    alone = [Training(task, seed) for seed in range(members)]

    def at_once() -> None:
        for _ in range(steps):
            together.step()

    def one_by_one() -> None:
        for training in alone:
            for _ in range(steps):
                training.step()

    ways = (at_once, one_by_one)
    for way in ways:
        way()  # warm up
    times: list[list[float]] = [[], []]
    for turn in range(turns):
        for i in (0, 1) if turn % 2 else (1, 0):
            times[i].append(elapsed(ways[i], task.device, wall_clock) / steps / members)
    ratios = sorted(b / a for a, b in zip(*times, strict=True))
    return {
        "task": task.spec.id,
        "parameters": task.num_parameters(),
        "members": members,
        "at_once_ms": round(statistics.median(times[0]) * 1e3, 3),
        "alone_ms": round(statistics.median(times[1]) * 1e3, 3),
        "speedup": round(statistics.median(ratios), 3),
        "speedup_range": [round(ratios[0], 3), round(ratios[-1], 3)],
    }


def main() -> None:
    """Measure, print a line each and, where asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=sorted(TASKS), default=sorted(TASKS))
    parser.add_argument("--members", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--device", default="cpu", help="auto, or one of nino.device.device_names()")
    parser.add_argument("--turns", type=int, default=9, help="interleaved turns a figure")
    parser.add_argument("--steps", type=int, default=5, help="steps of each network a turn")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as the nino command does
    figures = []
    for name in args.tasks:
        for members in args.members:
            figures.append(measure(TASKS[name](str(device_named(args.device))), members, args.turns, args.steps))
            print(json.dumps(figures[-1]), flush=True)
    if args.out:
        device = (accelerator_models() if args.device != "cpu" else None) or platform.processor() or "cpu"
        machine = {"platform": platform.platform(), "python": sys.version.split()[0], "torch": torch.__version__}
        about = {"machine": machine | {"device": device}, "threads": args.threads, "turns": args.turns}
        args.out.write_text(json.dumps(about | {"figures": figures}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
