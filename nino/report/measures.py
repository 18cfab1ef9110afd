"""What a cell of a study can measure: a value a seed, and its mean with an interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from nino.report.progress import value_at
from nino.report.runs import Runs
from nino.report.statistics import Interval, generator, mean_interval, sample_mean, sample_std, speedups
from nino.report.studies import Cell
from nino.report.table import EMPTY
from nino.schedule import Schedule
from nino.specs import MethodSpec, ReportSpec
from nino.specs.method_schedule import method_schedule

Values = dict[str, dict[int, float]]  # task -> seed -> value
NO_INTERVAL = Interval(float("nan"), float("nan"), "none")
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
        mean: the value; NaN where there is none.
        std: sample standard deviation over seeds; NaN of one, and of means over tasks.
        seeds: how many seeds the mean is of, over all tasks; 0 of what follows from the plan alone.
        interval: of the mean.
        values: by seed, where the value is one a seed.
        run: runs there are: done, diverged or failed.
        reached: how many of them reached the target.
        tasks: how many tasks the mean is of.
        gap: why there is no value: ``missing`` (no such run), ``n/a`` (not planned), ``not reached`` (in no run), ``no
            pair`` (never in a seed that the baseline reached it in), a dash (runs without such a value); empty where
            there is one.
    """

    mean: float = float("nan")
    std: float = float("nan")
    seeds: int = 0
    interval: Interval = NO_INTERVAL
    values: Mapping[int, float] = field(default_factory=dict)
    run: int = 0
    reached: int = 0
    tasks: int = 0
    gap: str = ""

    def share(self, measure: str) -> float:
        """The share of the runs that have a value: those that reached the target where that is what is measured."""
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
    if cell.measure not in (known := (MEAN_SPEEDUP, *MEASURES, *PLANNED)):
        raise ValueError(f"`measure` (={cell.measure!r}) must be one of {', '.join(known)}")
    if runs is None or cell.method not in runs.spec.row_order:
        return Measured(gap=MISSING)
    if cell.measure in PLANNED:
        return Measured(PLANNED[cell.measure](runs.spec, _method(runs.spec, cell.method)))
    tasks = tasks_of(runs, cell)
    if not tasks:
        known_task = cell.task in {task.id for task in runs.spec.tasks}
        return Measured(gap=NOT_PLANNED if known_task else MISSING)
    part = runs.frame[(runs.frame.method == cell.method) & runs.frame.task.isin(tasks)]
    run, reached = int((part.status != "missing").sum()), int(part.reached.sum())
    found = _over_tasks(runs, cell) if cell.measure == MEAN_SPEEDUP else _over_seeds(runs, cell)
    gap = "" if found.seeds else _gap(runs, cell, run, reached)
    return Measured(found.mean, found.std, found.seeds, found.interval, found.values, run, reached, found.tasks, gap)


def tasks_of(runs: Runs, cell: Cell) -> list[str]:
    """The tasks that a cell is measured on: those of them that its method is planned on."""
    return [task.id for task in runs.spec.planned_tasks(cell.method) if not cell.task or task.id == cell.task]


def bounded(runs: Runs, cell: Cell) -> Values:
    """A cell's values by task and seed, for comparisons: a run that misses its target counts with the step budget.

    The budget is the least that such a run can have taken, so that no method gains by missing a target. Seeds that the
    baseline misses have no speed-up.

    Args:
        runs: all runs.
        cell: what is measured.
    """
    if cell.measure not in TO_TARGET:
        return {task: _values(runs, cell) for task in tasks_of(runs, cell)[:1]}
    found: Values = {}
    for task in tasks_of(runs, cell):
        budget = float(runs.frame[runs.frame.task == task].budget.max())
        steps = runs.steps(task)[[cell.method, runs.spec.baseline]].to_numpy()
        mine, base = np.minimum(steps[:, 0], budget), steps[:, 1]
        known = ~np.isnan(mine) & (np.isfinite(base) | (cell.measure == "steps"))
        values = mine if cell.measure == "steps" else 100 * (1 - mine / base)
        found[task] = {seed: float(values[i]) for i, seed in enumerate(runs.spec.seeds) if known[i]}
    return {task: values for task, values in found.items() if values}


def mean_over_tasks(values: Values, spec: ReportSpec, rng: np.random.Generator) -> tuple[float, Interval]:
    """Mean over tasks of the tasks' means, each task weighing the same, with its interval.

    Args:
        values: by task and seed, no task empty.
        spec: says the level and how many resamples.
        rng: the generator to draw them from.

    Returns:
        The mean, and a percentile bootstrap interval that resamples seeds within tasks; of a single task the interval
        of its mean, and none where one of several tasks has a single seed, which would pretend that it never varies.
    """
    arrays = [np.array(list(by_seed.values())) for by_seed in values.values()]
    mean = sample_mean(np.array([array.mean() for array in arrays]))
    if len(arrays) == 1:
        return mean, mean_interval(arrays[0], spec.confidence, spec.resamples, rng)
    if not arrays or min(map(len, arrays)) < 2:
        return mean, NO_INTERVAL
    drawn = [array[rng.integers(len(array), size=(spec.resamples, len(array)))].mean(axis=1) for array in arrays]
    tail = (1 - spec.confidence) / 2
    low, high = np.quantile(np.mean(drawn, axis=0), [tail, 1 - tail])
    return mean, Interval(float(low), float(high), "bootstrap")


def _over_tasks(runs: Runs, cell: Cell) -> Measured:
    """The mean speed-up over tasks; of a method that never reaches a target, none."""
    values = {} if cell.method == runs.spec.baseline else bounded(runs, cell)
    if not values or not runs.frame[runs.frame.method == cell.method].reached.any():
        return Measured()
    mean, interval = mean_over_tasks(values, runs.spec, generator(runs))
    return Measured(mean, seeds=sum(map(len, values.values())), interval=interval, tasks=len(values))


def _over_seeds(runs: Runs, cell: Cell) -> Measured:
    values = _values(runs, cell)
    known = np.array(list(values.values()))
    interval = mean_interval(known, runs.spec.confidence, runs.spec.resamples, generator(runs))
    return Measured(sample_mean(known), sample_std(known), len(known), interval, values, tasks=1)


def _values(runs: Runs, cell: Cell) -> dict[int, float]:
    return {seed: value for seed, value in MEASURES[cell.measure](runs, cell).items() if np.isfinite(value)}


def _gap(runs: Runs, cell: Cell, run: int, reached: int) -> str:
    if not run:
        return MISSING
    if cell.measure not in TO_TARGET or (cell.method == runs.spec.baseline and cell.measure != "steps"):
        return EMPTY
    return NO_PAIR if reached else NOT_REACHED


def _speedup(runs: Runs, cell: Cell) -> dict[int, float]:
    """Percent of the baseline's steps that are saved, seeds that both reached the target with."""
    if cell.method == runs.spec.baseline:
        return {}
    table = runs.steps(cell.task)[[cell.method, runs.spec.baseline]]
    both = table[np.isfinite(table).all(axis=1)]
    gains = speedups(both[cell.method].to_numpy(), both[runs.spec.baseline].to_numpy())
    return dict(zip(both.index.astype(int), gains.tolist(), strict=True))


def _steps(runs: Runs, cell: Cell) -> dict[int, float]:
    return {int(seed): float(steps) for seed, steps in runs.steps(cell.task)[cell.method].items()}  # type: ignore[call-overload]


def _value_at(runs: Runs, cell: Cell) -> dict[int, float]:
    """The task's metric at a step; of a run that does not go so far, nothing."""
    task = runs.spec.task(cell.task)
    if task.recipe.steps < cell.step:
        return {}
    split = task.target.split
    return {key.seed: value_at(runs.logs[key], cell.step, split) for key in runs.keys(cell.task, cell.method)}


def _column(name: str, factor: float = 1.0) -> Callable[[Runs, Cell], dict[int, float]]:
    """A column of the runs' frame, of the runs that are done."""

    def values(runs: Runs, cell: Cell) -> dict[int, float]:
        part = _done(runs, cell)
        return dict(zip(part.seed.astype(int), (factor * part[name]).tolist(), strict=True))

    return values


def _of_nowcasts(value: Callable[[pd.DataFrame], float]) -> Callable[[Runs, Cell], dict[int, float]]:
    """A number of a run's nowcasts (in the order of their steps); of a run without any, nothing."""

    def values(runs: Runs, cell: Cell) -> dict[int, float]:
        keys = runs.keys(cell.task, cell.method)
        return {key.seed: float(value(runs.nowcasts[key])) for key in keys if len(runs.nowcasts[key])}

    return values


def _seconds_per_step(runs: Runs, cell: Cell) -> dict[int, float]:
    part = _done(runs, cell)
    return dict(zip(part.seed.astype(int), (part.train_seconds / part.budget).tolist(), strict=True))


def _overhead(runs: Runs, cell: Cell) -> dict[int, float]:
    part = _done(runs, cell)
    return dict(zip(part.seed.astype(int), (100 * part.nowcast_seconds / part.train_seconds).tolist(), strict=True))


def _done(runs: Runs, cell: Cell) -> pd.DataFrame:
    frame = runs.frame
    return frame[(frame.task == cell.task) & (frame.method == cell.method) & (frame.status == "done")]


def _change(jumps: pd.DataFrame) -> pd.Series:
    """How a nowcast changed the loss of the next batch, percent."""
    return 100 * (jumps.loss_after / jumps.loss_before - 1)


def _method(spec: ReportSpec, name: str) -> MethodSpec:
    return next(method for method in spec.methods if method.name == name)


def _planned(part: Callable[[Schedule], int]) -> Callable[[ReportSpec, MethodSpec], float]:
    return lambda spec, method: float(part(method_schedule(method, spec.schedule)))


def _reach(spec: ReportSpec, method: MethodSpec) -> float:
    """Steps that the first nowcast reaches ahead; later horizons decay."""
    return float(method_schedule(method, spec.schedule).reach(0))


MEASURES: dict[str, Callable[[Runs, Cell], dict[int, float]]] = {
    "speedup": _speedup,
    "steps": _steps,
    "value_at": _value_at,
    "final": _column("final"),
    "best": _column("best"),
    "peak_gb": _column("peak_memory_bytes", 1e-9),
    "seconds_per_step": _seconds_per_step,
    "seconds_per_nowcast": _of_nowcasts(lambda jumps: jumps.seconds.mean()),
    "overhead_percent": _overhead,
    "kept": _of_nowcasts(lambda jumps: (jumps.accepted == 1).sum()),
    "refused": _of_nowcasts(lambda jumps: (jumps.accepted == 0).sum()),
    # a loss that is no number was not lowered either
    "raised_percent": _of_nowcasts(lambda jumps: 100 * (~(jumps.loss_after <= jumps.loss_before)).mean()),
    "first_change_percent": _of_nowcasts(lambda jumps: _change(jumps).iloc[0]),
    "worst_change_percent": _of_nowcasts(lambda jumps: _change(jumps).max(skipna=False)),
}
PLANNED: dict[str, Callable[[ReportSpec, MethodSpec], float]] = {  # what the config says, with or without runs
    "period": _planned(lambda schedule: schedule.period),
    "spacing": _planned(lambda schedule: schedule.spacing),
    "context": _planned(lambda schedule: schedule.context),
    "reach": _reach,
}
