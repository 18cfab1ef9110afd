"""What the exact first hit costs: a check (`nino.evaluate.target.first_hit`) beside a step and a full evaluation.

A network of the task is trained until it is ``--below`` points under the target (or ``--steps`` are over); then each of
the next ``--checks`` steps is checked against the target by betting and counting (what runs do), by counting alone, and
evaluated in full, on the same parameters. Times are the process's own. A wrong verdict ends the benchmark.

    python -m benchmarks.target_check --config workflow/configs/cpu.yaml --task c10-16 --data-dir FOLDER
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from time import process_time
from typing import Any

import torch

from nino.allocator import keep_freed_memory
from nino.config.load import load
from nino.config.resolve import resolve
from nino.evaluate.target.first_hit import TargetCheck
from nino.files import write_json
from nino.provenance import git_commit, hardware, versions
from nino.tasks import Task, load_task
from nino.training import Training

ROOT = Path(__file__).parent.parent
LOOK_EVERY = 100  # steps between evaluations on the way to the stretch
WARM = 20  # checks that are not counted: the first ones know nothing yet


def approach(training: Training, below: float, steps: int) -> float:
    """Train until the metric is as near; returns it."""
    target = training.task.spec.target
    value = training.evaluate("test")
    while training.steps < steps and target.value - value > below:
        for _ in range(LOOK_EVERY):
            training.step()
        value = training.evaluate("test")
    return value


def measure(task: Task, seed: int, below: float, steps: int, checks: int) -> dict[str, Any]:
    """Medians over the checks of a stretch that does not meet the target."""
    training = Training(task, seed)
    reached = approach(training, below, steps)
    ways = {"bets": TargetCheck(task), "counting": TargetCheck(task, sample=False)}
    seconds: dict[str, list[float]] = {name: [] for name in ("step", "full", *ways)}
    images: dict[str, list[int]] = {name: [] for name in ways}
    values: list[float] = []

    def timed(name: str, work: Any) -> Any:
        begin = process_time()
        result = work()
        seconds[name].append(process_time() - begin)
        return result

    for _ in range(checks + WARM):
        timed("step", training.step)
        verdicts = {}
        for name, check in ways.items():
            before = check.images
            verdicts[name] = timed(name, lambda check=check: check.rules_out(training.model))
            images[name].append(check.images - before)
        values.append(timed("full", lambda: training.evaluate("test")))
        if any(verdicts.values()) and task.spec.target.met(values[-1]):
            raise AssertionError(f"step {training.steps} meets the target, which a check ruled out: {verdicts}")
    return {
        "task": task.spec.id,
        "target": task.spec.target.value,
        "from": {"step": training.steps - checks - WARM, "metric": reached},
        "metric": {"mean": statistics.fmean(values[WARM:]), "max": max(values[WARM:])},
        "test_images": len(task.data.split("test")),
        "images": {name: statistics.fmean(found[WARM:]) for name, found in images.items()},
        "milliseconds": {name: 1e3 * statistics.median(found[WARM:]) for name, found in seconds.items()},
    }


def main() -> None:
    """Measure, print and, where asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="laid over config.yaml")
    parser.add_argument("--task", default="fm-16")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--below", type=float, nargs="+", default=[6.0, 3.0, 1.5], help="points below the target")
    parser.add_argument("--steps", type=int, default=5000, help="most steps on the way to a stretch")
    parser.add_argument("--checks", type=int, default=60)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    run = resolve(load([args.config] if args.config else (), ROOT / "config.yaml"))
    task = load_task(run.tasks[args.task], args.data_dir)
    rows = []
    for below in args.below:
        row = measure(task, args.seed, below, args.steps, args.checks)
        rows.append(row)
        spent = ", ".join(f"{name} {value:.1f} ms" for name, value in row["milliseconds"].items())
        looked = ", ".join(f"{name} {value:.0f}" for name, value in row["images"].items())
        print(f"{args.task}, {row['metric']['mean']:.2f} of {row['target']}: {spent}; images {looked}", flush=True)
    if args.out:
        write_json(args.out, {"git": git_commit(), "hardware": hardware(), "versions": versions(), "figures": rows})


if __name__ == "__main__":
    main()
