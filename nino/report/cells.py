"""Measuring a cell of a table: the mean over seeds with its interval, or the reason why it has no value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from nino.report.formats import EMPTY
from nino.report.measures import MEASURES, PLANNED, Cell, sample, saving
from nino.report.runs import Runs
from nino.report.statistics import LOWER, NO_INTERVAL, Interval, bound, estimate, sample_std

MEAN_SPEEDUP = "mean_speedup"
TO_TARGET = ("speedup", "gain", "steps", MEAN_SPEEDUP)  # a run that misses its target counts with its budget
STEPS = ("steps", "steps_without")
MISSING = "missing"
NOT_PLANNED = "n/a"
NO_PAIR = "no pair"


@dataclass(frozen=True)
class Measured:
    """A measured cell.

    Args:
        run: runs there are: done, diverged or failed.
        reached: how many of them reached the target.
        tasks: how many tasks the mean is of.
        seeds: how many seeds the mean is of, over all tasks; 0 of what follows from the plan alone.
        gap: why there is no value: ``missing`` (no such run), ``n/a`` (not planned), ``no pair`` (no seed that the
            baseline was run with, too), a dash (runs without such a value); empty where there is one.
        mean: the value, misses counted with the step budget; NaN where there is none.
        bound: how it bounds the value without misses, see `nino.report.statistics.bound`.
        std: sample standard deviation over seeds; NaN of one, and of means over tasks.
        interval: of the mean.
    """

    run: int = 0
    reached: int = 0
    tasks: int = 0
    seeds: int = 0
    gap: str = ""
    mean: float = float("nan")
    bound: str = ""
    std: float = float("nan")
    interval: Interval = NO_INTERVAL


def measure(runs: Runs | None, cell: Cell) -> Measured:
    """Measure a cell.

    Args:
        runs: of a results folder; None where there is none.
        cell: what to measure; a task or method that the runs do not have gives a missing value.

    Returns:
        The value; ``gap`` says why where there is none.

    Raises:
        ValueError: for an unknown measure; says which there are.
    """
    if cell.measure not in (measures := (MEAN_SPEEDUP, *MEASURES, *PLANNED)):
        raise ValueError(f"`measure` (={cell.measure!r}) must be one of {', '.join(measures)}")
    if runs is None or cell.method not in runs.spec.row_order:
        return Measured(gap=MISSING)
    if cell.measure in PLANNED:
        method = next(method for method in runs.spec.methods if method.name == cell.method)
        return Measured(mean=PLANNED[cell.measure](runs.spec, method))
    tasks = tasks_of(runs, cell)
    if not tasks:
        return Measured(gap=NOT_PLANNED if cell.task in {task.id for task in runs.spec.tasks} else MISSING)
    part = runs.frame[(runs.frame.method == cell.method) & runs.frame.task.isin(tasks)]
    run, reached = int((part.status != "missing").sum()), int(part.reached.sum())
    by_task = samples(runs, cell)
    mean, interval = estimate(runs.spec, by_task)
    seeds = sum(map(len, by_task.values()))
    return Measured(
        run=run,
        reached=reached,
        tasks=len(by_task),
        seeds=seeds,
        gap="" if seeds else _gap(runs, cell, run),
        bound=_bound(runs, cell, by_task),
        mean=mean,
        std=sample_std(by_task[cell.task].value.to_numpy()) if cell.task in by_task else float("nan"),
        interval=interval,
    )


def tasks_of(runs: Runs, cell: Cell) -> list[str]:
    """The tasks that a cell covers: its own, or without one all that its method is planned on."""
    return [task.id for task in runs.spec.planned_tasks(cell.method) if not cell.task or task.id == cell.task]


def samples(runs: Runs, cell: Cell) -> dict[str, pd.DataFrame]:
    """What the mean of a cell is estimated from, by task; tasks without a value are left out."""
    name = "speedup" if cell.measure == MEAN_SPEEDUP else cell.measure
    by_task = {task: sample(runs, replace(cell, measure=name, task=task)) for task in tasks_of(runs, cell)}
    return {task: frame for task, frame in by_task.items() if len(frame)}


def _bound(runs: Runs, cell: Cell, tasks: Iterable[str]) -> str:
    """How the value bounds the one without misses."""
    if cell.measure in STEPS:
        of = cell.method if cell.measure == "steps" else runs.spec.without_nowcasts(cell.task, cell.method)
        return LOWER if of and runs.missed(cell.task, of) else ""
    if cell.measure not in TO_TARGET:
        return ""
    name = "speedup" if cell.measure == MEAN_SPEEDUP else cell.measure
    return bound(saving(runs, replace(cell, measure=name, task=task))[1] for task in tasks)


def _gap(runs: Runs, cell: Cell, run: int) -> str:
    if not run:
        return MISSING
    if cell.measure == "gain" and runs.spec.without_nowcasts(cell.task, cell.method) is None:
        return EMPTY
    return NO_PAIR if cell.measure in TO_TARGET and cell.method != runs.spec.baseline else EMPTY
