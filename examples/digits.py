"""Adam against Adam with NiNo on the handwritten digits of scikit-learn: one minute, two curves, a picture.

    python examples/digits.py                    # writes digits.png
    python examples/digits.py --lr 1e-3 --seeds 6

Both train the same ConvNet from the same initialisation on the same batches; NiNo's published weights, which are
downloaded once (or lie in NINO_CACHE), have seen neither these images nor this network. Needs
``nino-nowcast[benchmark]`` (scikit-learn, matplotlib).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nino import NiNo
from nino.nowcasters import load_nowcaster

BATCH, TEST_EVERY = 128, 5


def convnet(seed: int) -> nn.Module:
    """A small ConvNet for 8 x 8 images."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def train(seed: int, args: argparse.Namespace, data: tuple[Tensor, ...], with_nino: bool) -> list[float]:
    """Train and return the test accuracy [percent] every ``TEST_EVERY`` steps."""
    x, y, x_test, y_test = data
    model = convnet(seed)
    opt: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    if with_nino:
        opt = NiNo(opt, args.ckpt, model, args.period, args.steps, verbose=False)
    batches = torch.Generator().manual_seed(seed)
    accuracies = []
    for step in range(1, args.steps + 1):
        rows = torch.randint(len(x), (BATCH,), generator=batches)
        opt.zero_grad()
        cross_entropy(model(x[rows]), y[rows]).backward()
        opt.step()
        if step % TEST_EVERY == 0:
            with torch.no_grad():
                accuracies.append(100 * (model(x_test).argmax(1) == y_test).float().mean().item())
    return accuracies


def first_reach(accuracies: list[float], target: float) -> int | None:
    """The first measured step at which the target is met."""
    return next((TEST_EVERY * (i + 1) for i, accuracy in enumerate(accuracies) if accuracy >= target), None)


def main() -> None:
    """Train both, print when each meets the target, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lr", type=float, default=6e-3, help="of Adam, in both")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--period", type=int, default=40, help="steps between nowcasts, a multiple of 5")
    parser.add_argument("--target", type=float, default=92.0, help="test accuracy [percent]")
    parser.add_argument("--ckpt", default="nino_no_posw", help="a nowcaster's file, or a published name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("digits.png"))
    args = parser.parse_args()
    try:
        load_nowcaster(args.ckpt)  # before the minutes that Adam alone takes
    except (OSError, ValueError) as error:
        parser.error(str(error))
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)
    data = (x[:1438], y[:1438], x[1438:], y[1438:])
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for name, colour in (("Adam", "0.5"), ("Adam with NiNo", "C0")):
        curves = [train(seed, args, data, name != "Adam") for seed in range(args.seeds)]
        reaches = [first_reach(curve, args.target) for curve in curves]
        print(f"{name}: {args.target:g} % first met in steps {reaches}")
        x_axis = range(TEST_EVERY, args.steps + 1, TEST_EVERY)
        axes.plot(x_axis, [mean(values) for values in zip(*curves, strict=True)], color=colour, label=name)
    axes.axhline(args.target, color="0.8", linewidth=1, zorder=0)
    axes.set(xlabel="step", ylabel=f"test accuracy [%], mean of {args.seeds}", ylim=(80, 100))
    axes.legend()
    figure.savefig(args.out, dpi=150)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
