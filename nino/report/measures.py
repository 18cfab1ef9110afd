"""What a cell of a study can measure: a value a seed, and its mean with an interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from nino.report.across import summarize
from nino.report.progress import value_at
from nino.report.runs import Runs
from nino.report.statistics import Interval, generator, mean_interval, sample_mean, sample_std, speedups
from nino.report.studies import Cell

NO_INTERVAL = Interval(float("nan"), float("nan"), "none")


@dataclass(frozen=True)
class Measured:
    """A measured cell.

    Args:
        mean: the value; NaN where there is none.
        std: sample standard deviation over seeds; NaN of one, and of means over tasks.
        seeds: how many seeds the mean is of; for means over tasks, how many runs.
        interval: of the mean.
        values: by seed, where the value is one a seed; for tests between cells.
    """

    mean: float = float("nan")
    std: float = float("nan")
    seeds: int = 0
    interval: Interval = NO_INTERVAL
    values: Mapping[int, float] = field(default_factory=dict)


def measure(runs: Runs | None, cell: Cell) -> Measured:
    """Measure a cell.

    Args:
        runs: of a results folder; None where there is none.
        cell: what to measure; a task or method that the runs do not have gives a missing value.

    Returns:
        The value; ``seeds`` is 0 where it is missing.

    Raises:
        ValueError: for an unknown measure; says which there are.
    """
    if cell.measure not in MEASURES and cell.measure != "mean_speedup":
        raise ValueError(f"`measure` (={cell.measure!r}) must be one of mean_speedup, {', '.join(MEASURES)}")
    if runs is None or cell.method not in runs.spec.row_order:
        return Measured()
    if cell.measure == "mean_speedup":
        found = summarize(runs, cell.method)
        return Measured(found.mean, seeds=found.reached if np.isfinite(found.mean) else 0, interval=found.interval)
    if cell.task not in {task.id for task in runs.spec.tasks}:
        return Measured()
    values = {seed: value for seed, value in MEASURES[cell.measure](runs, cell).items() if np.isfinite(value)}
    known = np.array(list(values.values()))
    interval = mean_interval(known, runs.spec.confidence, runs.spec.resamples, generator(runs))
    return Measured(sample_mean(known), sample_std(known), len(known), interval, values)


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


def _seconds_per_step(runs: Runs, cell: Cell) -> dict[int, float]:
    part = _done(runs, cell)
    return dict(zip(part.seed.astype(int), (part.train_seconds / part.budget).tolist(), strict=True))


def _seconds_per_nowcast(runs: Runs, cell: Cell) -> dict[int, float]:
    found = {}
    for key in runs.keys(cell.task, cell.method):
        if len(jumps := runs.nowcasts[key]):
            found[key.seed] = float(jumps.seconds.mean())
    return found


def _overhead(runs: Runs, cell: Cell) -> dict[int, float]:
    part = _done(runs, cell)
    return dict(zip(part.seed.astype(int), (100 * part.nowcast_seconds / part.train_seconds).tolist(), strict=True))


def _done(runs: Runs, cell: Cell):  # type: ignore[no-untyped-def]
    frame = runs.frame
    return frame[(frame.task == cell.task) & (frame.method == cell.method) & (frame.status == "done")]


MEASURES: dict[str, Callable[[Runs, Cell], dict[int, float]]] = {
    "speedup": _speedup,
    "steps": _steps,
    "value_at": _value_at,
    "final": _column("final"),
    "best": _column("best"),
    "peak_gb": _column("peak_memory_bytes", 1e-9),
    "seconds_per_step": _seconds_per_step,
    "seconds_per_nowcast": _seconds_per_nowcast,
    "overhead_percent": _overhead,
}
