"""What NiNo adds to a step: the wrapper beside the bare base optimizer, interleaved, as medians and ratios.

Figures a model: ``plain step``, one that saves nothing (995 of a period's 1000 steps); ``optimizer alone``, the same
without forward and backward pass; ``period``, a whole period without its nowcast, saving included, per step. Both
trainings do the same work on the same values, a few steps in turn each, so that what the machine does besides falls on
both alike. Each turn's ratio is taken on its own; the interval is that of the median over the turns (bootstrap, 95 %).
On the CPU time is the process's own, so that other processes count little. ``wrapper`` is what a step of a base
optimizer that does nothing takes longer: the smallest of all turns.

    python benchmarks/optimizer_overhead.py                       # all models, CPU
    python benchmarks/optimizer_overhead.py --models mlp --turns 50
    python benchmarks/optimizer_overhead.py --device cuda --history pinned
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import nn

from nino import NiNo
from nino.measure import clock
from nino.nowcasters import LineFit

PERIOD = 1000


def mlp() -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    """A small net on 64 inputs: steps so short that every microsecond shows."""
    x, y = torch.randn(128, 64), torch.randint(10, (128,))
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)), _classify(x, y)


def convnet() -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    """The paper's Fashion-MNIST ConvNet (16, 32, 32), batch 128."""
    convs = [nn.Conv2d(1, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1)]
    model = nn.Sequential(*convs, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    return model, _classify(torch.randn(128, 1, 28, 28), torch.randint(10, (128,)))


def gpt2() -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    """The paper's lm1b-3-64 GPT-2 (3.4M parameters), 2 x 64 tokens."""
    from nino.tasks.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=3, n_head=4))
    ids = torch.randint(50257, (2, 64))
    return model, lambda model: model(input_ids=ids.to(model.device), labels=ids.to(model.device)).loss


def _classify(x: torch.Tensor, y: torch.Tensor) -> Callable[[nn.Module], torch.Tensor]:
    def loss(model: nn.Module) -> torch.Tensor:
        device = next(model.parameters()).device
        return F.cross_entropy(model(x.to(device)), y.to(device))

    return loss


MODELS = {"mlp": mlp, "convnet": convnet, "gpt2": gpt2}


class Run:
    """One training: a model and its optimizer, wrapped or bare."""

    def __init__(self, name: str, wrapped: bool, device: str, history: str) -> None:
        """Build both from the same seed."""
        torch.manual_seed(0)
        self.model, self.loss = MODELS[name]()
        self.model.to(device)
        base = torch.optim.AdamW(self.model.parameters(), lr=1e-5)
        self.opt: torch.optim.Optimizer = base
        if wrapped:
            self.opt = NiNo(
                base, None, self.model, PERIOD, 10**9, nowcaster=LineFit(), horizons=1, history=history, verbose=False
            )
        self.device = device

    def steps(self, first: int, count: int, whole: bool) -> float:
        """Seconds of ``count`` steps from step ``first`` of a period on: whole ones, or the optimizer's part alone."""
        if isinstance(self.opt, NiNo):
            self.opt.steps = first - 1
            self.opt.enabled = True  # forgets the states, plans anew
        if not whole:
            self.loss(self.model).backward()
        start = clock(self.device)
        for _ in range(count):
            if not isinstance(self.opt, NiNo) or self.opt.need_grads:
                if whole:
                    self.opt.zero_grad()
                    self.loss(self.model).backward()
                self.opt.step()
        return clock(self.device) - start


def compare(name: str, device: str, history: str, turns: int) -> dict[str, object]:
    """All figures of one model."""
    runs = [Run(name, wrapped, device, history) for wrapped in (False, True)]
    figures: dict[str, object] = {
        "model": name,
        "parameters": sum(p.numel() for p in runs[0].model.parameters()),
        "device": device,
        "history": history,
        "turns": turns,
    }
    plans = {"plain step": (1, 30, True), "optimizer alone": (1, 100, False)}
    if device != "cpu" or name != "gpt2":  # a period of the largest takes minutes a turn on a CPU
        plans["period"] = (1, PERIOD - 1, True)
    for label, (first, count, whole) in plans.items():
        for run in runs:
            run.steps(first, min(count, 30), whole)
        times: list[list[float]] = [[], []]
        for turn in range(turns if label != "period" else max(turns // 10, 3)):
            for i in (0, 1) if turn % 2 else (1, 0):
                times[i].append(runs[i].steps(first, count, whole) / count)
        ratios = [b / a for a, b in zip(*times, strict=True)]
        low, high = _interval(ratios)
        bare, wrapped = (statistics.median(t) for t in times)
        figures[label] = {
            "bare_us": round(bare * 1e6, 2),
            "nino_us": round(wrapped * 1e6, 2),
            "ratio": round(statistics.median(ratios), 5),
            "interval": [round(low, 5), round(high, 5)],
        }
        print(
            f"{name} ({figures['parameters']:,} parameters, {device}, history {history}), {label}: "
            f"{bare * 1e6:.1f} us bare, {wrapped * 1e6:.1f} us with NiNo, ratio {statistics.median(ratios):.4f} "
            f"[{low:.4f}, {high:.4f}] over {len(ratios)} turns",
            flush=True,
        )
    return figures


class Still(torch.optim.SGD):
    """Takes no step."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do nothing."""


def wrapper_microseconds(turns: int, steps: int = 2000) -> float:
    """What ``need_grads`` and ``step`` of the wrapper add to a step that saves nothing."""
    model = nn.Linear(4, 4)
    base = Still(model.parameters(), lr=0.1)
    opt = NiNo(base, None, model, 10**9, nowcaster=LineFit(), horizons=1)
    times: list[list[float]] = [[], []]
    for _ in range(turns):
        start = perf_counter()
        for _ in range(steps):
            base.step()
        middle = perf_counter()
        for _ in range(steps):
            if opt.need_grads:
                opt.step()
        times[0].append(middle - start)
        times[1].append(perf_counter() - middle)
    return (min(times[1]) - min(times[0])) / steps * 1e6


def _interval(values: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(2000))
    return medians[49], medians[1949]


def main() -> None:
    """Measure and, where asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=sorted(MODELS))
    parser.add_argument("--device", default="cpu", help="one of nino.device.device_names()")
    parser.add_argument("--history", default="auto", help="where states are kept: auto, cpu, pinned, device, disk")
    parser.add_argument("--turns", type=int, default=100, help="interleaved turns a figure")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    added = wrapper_microseconds(args.turns)
    print(f"wrapper: {added:.2f} us a step", flush=True)
    figures = [compare(name, args.device, args.history, args.turns) for name in args.models]
    if args.out:
        machine = {"platform": platform.platform(), "python": sys.version.split()[0], "torch": torch.__version__}
        args.out.write_text(
            json.dumps({"machine": machine, "threads": args.threads, "figures": figures}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
