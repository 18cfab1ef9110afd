"""Measuring a cell of a table: the mean over seeds with its interval, or the reason why it has no value."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nino.report.formats import EMPTY
from nino.report.measures import MEASURES, PLANNED, Cell, values
from nino.report.runs import Runs
from nino.report.statistics import (
    NO_INTERVAL,
    Interval,
    generator,
    interval_of_mean,
    sample_mean,
    sample_std,
    stratified_interval,
)

Values = dict[str, dict[int, float]]  # task -> seed -> value
MEAN_SPEEDUP = "mean_speedup"
TO_TARGET = ("speedup", "steps", MEAN_SPEEDUP)  # a run that misses its target has none of these
MISSING = "missing"
NOT_PLANNED = "n/a"
NOT_REACHED = "not reached"
NO_PAIR = "no pair"


@dataclass(frozen=True)
class Measured:
    """A measured cell.

    Args:
        run: runs there are: done, diverged or failed.
        reached: how many of them reached the target.
        tasks: how many tasks the mean is of.
        seeds: how many seeds the mean is of, over all tasks; 0 of what follows from the plan alone.
        gap: why there is no value: ``missing`` (no such run), ``n/a`` (not planned), ``not reached`` (in no run), ``no
            pair`` (never in a seed that the baseline reached it in), a dash (runs without such a value); empty where
            there is one.
        mean: the value; NaN where there is none.
        std: sample standard deviation over seeds; NaN of one, and of means over tasks.
        interval: of the mean.
    """

    run: int = 0
    reached: int = 0
    tasks: int = 0
    seeds: int = 0
    gap: str = ""
    mean: float = float("nan")
    std: float = float("nan")
    interval: Interval = NO_INTERVAL

    def share(self, measure: str) -> float:
        """The share of the runs that count: those that reached the target, or that have a value of another measure."""
        return (self.reached if measure in TO_TARGET else self.seeds) / max(self.run, 1)


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
    measured = _over_tasks(runs, cell) if cell.measure == MEAN_SPEEDUP else _over_seeds(runs, cell)
    return replace(measured, run=run, reached=reached, gap="" if measured.seeds else _gap(runs, cell, run, reached))


def tasks_of(runs: Runs, cell: Cell) -> list[str]:
    """The tasks that a cell covers: its own, or without one all that its method is planned on."""
    return [task.id for task in runs.spec.planned_tasks(cell.method) if not cell.task or task.id == cell.task]


def bounded(runs: Runs, cell: Cell) -> Values:
    """A cell's values by task and seed, as comparisons use them: a run that misses its target counts with the budget.

    Such a run needs at least all of its step budget, so no method gains by missing a target. Seeds whose baseline run
    misses the target have no speed-up.

    Args:
        runs: all runs.
        cell: what is measured.
    """
    if cell.measure not in TO_TARGET:
        return {task: values(runs, cell) for task in tasks_of(runs, cell)[:1]}
    by_task: Values = {}
    for task in tasks_of(runs, cell):
        budget = float(runs.frame[runs.frame.task == task].budget.max())
        steps = runs.steps(task)
        mine, base = steps[cell.method].clip(upper=budget), steps[runs.spec.baseline]
        if cell.measure != "steps":
            mine = (100 * (1 - mine / base)).where(np.isfinite(base))
        by_task[task] = {int(seed): float(value) for seed, value in mine.dropna().items()}  # type: ignore[call-overload]
    return {task: by_seed for task, by_seed in by_task.items() if by_seed}


def mean_over_tasks(runs: Runs, by_task: Values) -> tuple[float, Interval]:
    """Mean over tasks of the tasks' means, each task weighing the same, with its interval.

    Args:
        runs: whose report says the level and how many resamples.
        by_task: values by task and seed, no task empty.

    Returns:
        The mean, and a percentile bootstrap interval that resamples seeds within tasks; of a single task the interval
        of its mean, and none where one of several tasks has a single seed, which would pretend that it never varies.
    """
    arrays = {task: np.array(list(by_seed.values())) for task, by_seed in by_task.items()}
    means = np.array([array.mean() for array in arrays.values()])
    if len(arrays) == 1:
        return sample_mean(means), interval_of_mean(runs, *arrays.values())
    if not arrays or min(map(len, arrays.values())) < 2:
        return sample_mean(means), NO_INTERVAL
    spec = runs.spec
    return sample_mean(means), stratified_interval(arrays, spec.confidence, spec.resamples, generator(runs))


def _over_tasks(runs: Runs, cell: Cell) -> Measured:
    """The mean speed-up over tasks; no value for a method that never reaches a target."""
    by_task = {} if cell.method == runs.spec.baseline else bounded(runs, cell)
    if not by_task or not runs.frame[runs.frame.method == cell.method].reached.any():
        return Measured()
    mean, interval = mean_over_tasks(runs, by_task)
    return Measured(tasks=len(by_task), seeds=sum(map(len, by_task.values())), mean=mean, interval=interval)


def _over_seeds(runs: Runs, cell: Cell) -> Measured:
    array = np.array(list(values(runs, cell).values()))
    return Measured(
        tasks=1,
        seeds=len(array),
        mean=sample_mean(array),
        std=sample_std(array),
        interval=interval_of_mean(runs, array),
    )


def _gap(runs: Runs, cell: Cell, run: int, reached: int) -> str:
    if not run:
        return MISSING
    if cell.measure not in TO_TARGET or (cell.method == runs.spec.baseline and cell.measure != "steps"):
        return EMPTY
    return NO_PAIR if reached else NOT_REACHED
