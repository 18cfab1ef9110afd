"""Which learning rate suits a task's base optimizer: a grid, compared on the validation split.

The score of a rate is the validation metric, averaged over the last quarter of the run and over seeds that no table
uses. Nowcasters play no part in it. Writes benchmarks/results/learning_rate.csv.

    python -m benchmarks.learning_rate --config workflow/configs/digits.yaml --task digits-8 --task digits-16
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pandas as pd

from nino.config.load import load
from nino.config.resolve import resolve
from nino.tasks import Task, load_task
from nino.training import Training

ROOT = Path(__file__).parent.parent
GRID = (1e-3, 2.5e-3, 6.3e-3, 1.6e-2, 4e-2, 1e-1)
EVERY = 10  # steps between evaluations in the last quarter


def score(task: Task, seed: int) -> float:
    """The validation metric of a run, averaged over its last quarter."""
    training, metrics = Training(task, seed), []
    steps = task.spec.recipe.steps
    while training.steps < steps:
        training.step()
        if training.steps > 0.75 * steps and training.steps % EVERY == 0:
            metrics.append(training.evaluate("validation"))
    return mean(metrics)


def main() -> None:
    """Compare the grid's rates for each task, print the best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, action="append", default=[])
    parser.add_argument("--task", action="append", required=True)
    parser.add_argument("--lr", type=float, nargs="+", default=GRID)
    parser.add_argument("--seeds", type=int, nargs="+", default=(11, 12, 13, 14))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "learning_rate.csv")
    args = parser.parse_args()
    run = resolve(load(args.config, ROOT / "config.yaml"))
    rows = []
    for name in args.task:
        spec = run.tasks[name]
        for lr in args.lr:
            task = load_task(replace(spec, recipe=replace(spec.recipe, lr=lr)), args.data_dir)
            scores = [score(task, seed) for seed in args.seeds]
            rows += [
                {"task": name, "lr": lr, "seed": s, "validation": v} for s, v in zip(args.seeds, scores, strict=True)
            ]
            print(f"{name}, lr {lr:g}: {mean(scores):.2f}", flush=True)
    pd.DataFrame(rows).to_csv(args.out, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
