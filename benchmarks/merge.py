"""Merging by a nowcast against averaging weights: three fine-tunings of a small ConvNet and of a small GPT-2.

Both are trained here. The ConvNet (3,738 parameters) knows handwritten digits and is fine-tuned on them transposed,
inverted and blurred; the GPT-2 (bytes, 2 layers of width 32) knows Python modules and is fine-tuned on code, prose and
tables. A merge is worth what it does on all three, in the mean: accuracy in percent, or loss in nats a byte. ``own`` is
each fine-tuned model on its own data alone; ``best scale`` tries several of ``update_scale`` on the very data that the
table shows, and so says no more than what could be had.

    python -m benchmarks.merge --nowcaster nino_no_posw --out benchmarks/results/merge.json
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nino.markdown import table
from nino.nowcasters import LineFit, Nowcaster, load_nowcaster
from nino.offline import merge
from nino.tasks.torchvision_ops import declare_missing_operators

SCALES = (0.1, 0.3, 1.0, 2.5)
Batch = Callable[[torch.Generator], tuple[Tensor, Tensor]]


class Digits:
    """The ConvNet, its data, and what is measured: higher is better."""

    unit, better = "accuracy [%]", max

    def __init__(self) -> None:
        """Load the digits; every fifth is for testing."""
        from sklearn.datasets import load_digits

        data = load_digits()
        x, y = torch.tensor(data.data, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(data.target)
        test = torch.arange(len(x)) % 5 == 0
        self._parts = (x[~test], y[~test]), (x[test], y[test])
        blur = torch.full((1, 1, 3, 3), 1 / 9)
        self.changes: list[Callable[[Tensor], Tensor]] = [
            lambda x: x.transpose(2, 3),
            lambda x: 1 - x,
            lambda x: F.conv2d(x, blur, padding=1),
        ]

    def model(self) -> nn.Module:
        """A fresh one."""
        convs = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()]
        return nn.Sequential(
            *convs, nn.Conv2d(16, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
        )

    def batches(self, task: int | None) -> Batch:
        """A function that draws batches of a task's training data, or of the base's if ``task`` is None."""
        x, y = self._parts[0]
        change = (lambda x: x) if task is None else self.changes[task]

        def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
            rows = torch.randint(len(x), (64,), generator=generator)
            return change(x[rows]), y[rows]

        return batch

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of a batch, for training."""
        return F.cross_entropy(model(batch[0]), batch[1])

    @torch.no_grad()
    def measure(self, model: nn.Module, task: int) -> float:
        """The accuracy on a task's test data, in percent."""
        x, y = self._parts[1]
        return 100 * float((model(self.changes[task](x)).argmax(1) == y).float().mean())

    def save(self, model: nn.Module, path: Path) -> Path:
        """As a file."""
        torch.save(model.state_dict(), path.with_suffix(".pt"))
        return path.with_suffix(".pt")

    def load(self, path: Path) -> nn.Module:
        """From a file."""
        model = self.model()
        model.load_state_dict(torch.load(path, weights_only=True))
        return model


class Text:
    """The GPT-2, its data, and what is measured: lower is better."""

    unit, better = "loss [nats a byte]", min

    def __init__(self) -> None:
        """Read Python's own modules; the last tenth of each text is for testing."""
        library = Path(os.__file__).parent

        def read(*names: str) -> Tensor:
            return torch.tensor(list(b"".join((library / name).read_bytes() for name in names)))

        self._base = read("ast.py", "calendar.py", "statistics.py", "pydoc_data/topics.py")[:600_000]
        self._tasks = [
            read("tarfile.py"),
            read("pydoc_data/topics.py")[-100_000:],
            read("encodings/cp437.py", "encodings/cp850.py"),
        ]

    def model(self) -> nn.Module:
        """A fresh one."""
        declare_missing_operators()
        from transformers import GPT2Config, GPT2LMHeadModel

        sizes = {"vocab_size": 256, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}
        dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        return GPT2LMHeadModel(GPT2Config(**sizes, **dropout, bos_token_id=0, eos_token_id=0))

    def batches(self, task: int | None) -> Batch:
        """A function that draws batches of a task's training data, or of the base's if ``task`` is None."""
        text = self._base if task is None else self._tasks[task][: -len(self._tasks[task]) // 10]

        def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
            starts = torch.randint(len(text) - 64, (16, 1), generator=generator)
            ids = text[starts + torch.arange(64)]
            return ids, ids

        return batch

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of a batch, for training and for `measure`."""
        return model(input_ids=batch[0], labels=batch[1]).loss

    @torch.no_grad()
    def measure(self, model: nn.Module, task: int) -> float:
        """The loss on the first 64 blocks of a task's test data, in nats a byte."""
        text = self._tasks[task][-len(self._tasks[task]) // 10 :]
        ids = text[: len(text) // 64 * 64].view(-1, 64)[:64]
        return float(self.loss(model, (ids, ids)))

    def save(self, model: nn.Module, path: Path) -> Path:
        """As a Hugging Face folder."""
        model.save_pretrained(path)  # type: ignore[operator]
        return path

    def load(self, path: Path) -> nn.Module:
        """From a Hugging Face folder."""
        from transformers import GPT2LMHeadModel

        return GPT2LMHeadModel.from_pretrained(path)


def train(work: Digits | Text, model: nn.Module, task: int | None, steps: int, seed: int) -> nn.Module:
    """Train a model, in place."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3 if task is None else 1e-3)
    batch = work.batches(task)
    for _ in range(steps):
        optimizer.zero_grad()
        work.loss(model, batch(generator)).backward()
        optimizer.step()
    return model


def average(models: list[nn.Module], into: nn.Module) -> nn.Module:
    """The mean of the models' parameters, in ``into``."""
    with torch.no_grad():
        for parameters in zip(into.parameters(), *(m.parameters() for m in models), strict=True):
            parameters[0].copy_(torch.stack(parameters[1:]).mean(0))
    return into


def compare(work: Digits | Text, nowcaster: Nowcaster, folder: Path, seed: int, steps: int) -> dict[str, float]:
    """Train, merge and measure once; by row, the mean over the tasks."""
    torch.manual_seed(seed)
    tasks = range(3)
    base = train(work, work.model(), None, steps, seed)
    paths = [work.save(base, folder / f"base{seed}")]
    tuned = []
    for task in tasks:
        tuned.append(train(work, work.load(paths[0]), task, steps // 2, seed + task + 1))
        paths.append(work.save(tuned[-1], folder / f"tuned{seed}-{task}"))

    def value(model: nn.Module) -> float:
        return mean(work.measure(model, task) for task in tasks)

    def merged(name: str, with_: Nowcaster, scale: float) -> float:
        network = work.model() if isinstance(work, Digits) else None
        out = folder / f"{name}{seed}-{scale}{paths[1].suffix}"
        return value(work.load(merge(paths[0], paths[1:], with_, out, update_scale=scale, model=network).path))

    by_scale = {scale: merged("nino", nowcaster, scale) for scale in SCALES}
    return {
        "base": value(base),
        "own": mean(work.measure(model, task) for task, model in enumerate(tuned)),
        "last fine-tuned": value(tuned[-1]),
        "weight average": value(average(tuned, work.load(paths[0]))),
        "nino merge": by_scale[0.3],
        "nino merge, best scale": work.better(by_scale.values()),
        "line fit, scale 0.3": merged("line", LineFit(), 0.3),
    }


def main() -> None:
    """Measure, print the table and, where asked, write JSON and the table beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nowcaster", default="nino_no_posw", help="file or known name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600, help="of the base; half of it for each fine-tuning")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    nowcaster = load_nowcaster(args.nowcaster)
    found: dict[str, list[dict[str, float]]] = {}
    units: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, work in (("ConvNet", Digits()), ("GPT-2", Text())):
            units[name] = work.unit
            own = Path(folder, name)
            own.mkdir()
            found[name] = [compare(work, nowcaster, own, seed, args.steps) for seed in range(args.seeds)]
    rows: list[tuple[Any, ...]] = []
    for row in found["ConvNet"][0]:
        cells = []
        for runs in found.values():
            values = [run[row] for run in runs]
            spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.2f}{spread}")
        rows.append((row, *cells))
    text = table(("model", *(f"{name}, {unit}" for name, unit in units.items())), rows)
    print(text)
    if args.out:
        args.out.write_text(json.dumps({"steps": args.steps, "runs": found}, indent=2) + "\n")
        note = f"Mean and standard deviation over {args.seeds} seeds, by `python -m benchmarks.merge --out FILE`.\n"
        args.out.with_suffix(".md").write_text(f"{text}\n\n{note}")


if __name__ == "__main__":
    main()
