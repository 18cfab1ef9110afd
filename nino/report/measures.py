"""What tables measure: one value for each seed of a method on a task, defined once for all tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from nino.report.comparisons import reached_speedups, speedup_sample
from nino.report.progress import settled_step, value_at
from nino.report.published import Published, published, published_speedup
from nino.report.runs import Key, Runs
from nino.schedule import Schedule
from nino.specs import MethodSpec, ReportSpec
from nino.specs.method_schedule import method_schedule

SPEED = ("machine", "cpu", "cores", "threads", "gpus")  # parts of the hardware that determine how long a step takes
EQUAL_LOAD = 0.05  # runs have equal load if the shares of the cores that other processes had differ by no more


@dataclass(frozen=True)
class Cell:
    """What a cell of a table measures.

    Args:
        measure: a key of ``MEASURES`` or ``PLANNED``, or ``mean_speedup``.
        method: name of a method; empty where the table has none of it.
        task: id of a task; measures over all tasks need none.
        step: for ``value_at``.
        published: path to the published value: a section of ``published.yaml``, then keys and positions.
        better: ``higher`` or ``lower``; empty where neither is meant, so that no cell is the best.
        digits: decimals shown.
    """

    measure: str
    method: str = ""
    task: str = ""
    step: int = 0
    published: tuple[str | int, ...] = ()
    better: str = ""
    digits: int = 1

    def source(self) -> Published | None:
        """The published value; None where nothing was published."""
        if len(self.published) < 2:
            return None
        section, *keys = self.published
        if section == "speedup":  # not published itself, but two numbers of steps are
            return published_speedup(str(keys[0]), str(keys[1])) if len(keys) == 2 else None
        entry = published(str(section), *keys)
        return entry if entry is not None and isinstance(entry.value, int | float) else None


def values(runs: Runs, cell: Cell) -> dict[int, float]:
    """A cell's value by seed; seeds without a finite one are left out."""
    return {seed: value for seed, value in MEASURES[cell.measure](runs, cell).items() if np.isfinite(value)}


def sample(runs: Runs, cell: Cell) -> pd.DataFrame:
    """A cell's values by seed with their weights in its mean, see `nino.report.statistics.estimate`."""
    if cell.measure in AGAINST:
        return saving(runs, cell)[0]
    by_seed = values(runs, cell)
    return pd.DataFrame({"value": by_seed.values(), "weight": 1.0}, index=list(by_seed), dtype=float)


def saving(runs: Runs, cell: Cell) -> tuple[pd.DataFrame, str]:
    """What a method saves against the one that its measure names (``AGAINST``), and the bound that misses make."""
    base = AGAINST[cell.measure](runs.spec, cell)
    sample, sign = speedup_sample(runs, cell.task, cell.method, base=base or cell.method)
    return (sample, sign) if base not in (None, cell.method) else (sample.iloc[:0], "")


def unlike(runs: Runs, keys: Iterable[Key]) -> str:
    """Why seconds of some runs do not compare; empty where they do.

    Args:
        runs: all runs.
        keys: of runs that there are.

    Returns:
        ``machines differ`` (the recorded hardware, or how many runs were trained at once), ``loads differ`` (what other
        processes had of the cores meanwhile), ``load unknown`` (of a run of an earlier version), or nothing.
    """
    infos = [runs.info[key] for key in keys]
    if len({_place(info) for info in infos}) > 1:
        return "machines differ"
    shares = [info.get("share_of_others") for info in infos]
    if recorded := [share for share in shares if share is not None]:
        if max(recorded) - min(recorded) > EQUAL_LOAD:
            return "loads differ"
    return "load unknown" if len(recorded) < len(shares) else ""


def unlike_baseline(runs: Runs, task: str, method: str, seed: int) -> str:
    """Why seconds of a run and of the baseline's of its seed do not compare; empty where they do."""
    keys = [Key(task, name, seed) for name in (method, runs.spec.baseline)]
    return unlike(runs, keys) if all(key in runs.info for key in keys) else "no pair"


def _place(info: Mapping[str, Any]) -> tuple[Any, ...]:
    """What durations depend on: the recorded hardware, and how many runs were trained at once."""
    hardware = (info.get("provenance") or {}).get("hardware") or {}
    named = (hardware.get(name) for name in SPEED)
    return (info.get("members_at_once", 1), *(tuple(each) if isinstance(each, list) else each for each in named))


def _dict(series: pd.Series) -> dict[int, float]:
    return {int(seed): float(value) for seed, value in series.items()}  # type: ignore[call-overload]


def _by_seed(part: pd.DataFrame, series: pd.Series) -> dict[int, float]:
    return dict(zip(part.seed.astype(int), series.astype(float).tolist(), strict=True))


def _done(value: Callable[[pd.DataFrame], pd.Series]) -> Callable[[Runs, Cell], dict[int, float]]:
    """A measure of finished runs, computed from their rows of the frame."""

    def by_seed(runs: Runs, cell: Cell) -> dict[int, float]:
        part = runs.part(cell.task, cell.method)
        part = part[part.status == "done"]
        return _by_seed(part, value(part))

    return by_seed


def _of_nowcasts(value: Callable[[pd.DataFrame], float]) -> Callable[[Runs, Cell], dict[int, float]]:
    """A measure of a run's nowcasts, which are sorted by step; runs without nowcasts have no value."""

    def by_seed(runs: Runs, cell: Cell) -> dict[int, float]:
        keys = runs.keys(cell.task, cell.method)
        return {key.seed: float(value(runs.nowcasts[key])) for key in keys if len(runs.nowcasts[key])}

    return by_seed


def _saved(runs: Runs, cell: Cell) -> dict[int, float]:
    """Percent of the steps that are saved, a miss counting with the budget."""
    return _dict(saving(runs, cell)[0].value)


def _steps_without(runs: Runs, cell: Cell) -> dict[int, float]:
    """Steps to target of the row that trains by the same recipe without nowcasts."""
    base = runs.spec.without_nowcasts(cell.task, cell.method)
    return _steps(runs, replace(cell, method=base)) if base else {}


def _reached_speedup(runs: Runs, cell: Cell) -> dict[int, float]:
    """Percent of the baseline's steps that are saved, for the seeds with which both reached the target."""
    return _dict(reached_speedups(runs, cell.task, cell.method))


def _time_saved(runs: Runs, cell: Cell) -> dict[int, float]:
    """Percent of the baseline's seconds to target that are saved, for seeds that both reached on equal terms."""
    if cell.method == runs.spec.baseline:
        return {}
    mine, base = (
        runs.part(cell.task, method).set_index("seed").seconds for method in (cell.method, runs.spec.baseline)
    )
    alike = [not unlike_baseline(runs, cell.task, cell.method, int(seed)) for seed in mine.index]
    mine, base = mine[alike], base.reindex(mine.index)[alike]
    return _dict(100 * (1 - mine / base).dropna())


def _steps(runs: Runs, cell: Cell) -> dict[int, float]:
    """Steps to target, a miss counting with the budget."""
    return _dict(runs.counted_steps(cell.task)[cell.method])


def _seconds_to_target(runs: Runs, cell: Cell) -> dict[int, float]:
    part = runs.part(cell.task, cell.method)
    return _by_seed(part, part.seconds)


def _value_at(runs: Runs, cell: Cell) -> dict[int, float]:
    """The task's metric at a step, read after recovery from the last jump; runs that end before it have no value."""
    task = runs.spec.task(cell.task)
    if task.recipe.steps < cell.step:
        return {}
    step, split = settled_step(runs, task, cell.step), task.target.split
    return {key.seed: value_at(runs.grid(key), step, split) for key in runs.keys(cell.task, cell.method)}


def _last_quarter(runs: Runs, cell: Cell) -> dict[int, float]:
    """The task's metric, mean over the evaluations of the last quarter of the steps; of finished runs."""
    task = runs.spec.task(cell.task)
    finished = set(MEASURES["final"](runs, cell))
    grids = {key.seed: runs.grid(key) for key in runs.keys(cell.task, cell.method) if key.seed in finished}
    last = {seed: grid[grid.step > 0.75 * task.recipe.steps] for seed, grid in grids.items()}
    return {seed: float(grid[task.target.split].mean()) for seed, grid in last.items()}


def _seconds_per_nowcast(runs: Runs, cell: Cell) -> dict[int, float]:
    """Seconds that a run spent on nowcasts, divided by their number."""
    seconds = MEASURES["nowcast_seconds"](runs, cell)
    counts = MEASURES["nowcasts"](runs, cell)
    return {seed: seconds[seed] / count for seed, count in counts.items() if seed in seconds}


def _change(nowcasts: pd.DataFrame) -> pd.Series:
    """By how many percent each nowcast changed the loss of the next batch."""
    return 100 * (nowcasts.loss_after / nowcasts.loss_before - 1)


def _planned(part: Callable[[Schedule], int]) -> Callable[[ReportSpec, MethodSpec], float]:
    return lambda spec, method: float(part(method_schedule(method, spec.schedule)))


def _reach(spec: ReportSpec, method: MethodSpec) -> float:
    """Steps that the first nowcast reaches ahead; later horizons decay."""
    return float(method_schedule(method, spec.schedule).reach(0))


AGAINST: dict[str, Callable[[ReportSpec, Cell], str | None]] = {  # what a measure of saved steps compares with
    "speedup": lambda spec, cell: spec.baseline,
    "gain": lambda spec, cell: spec.without_nowcasts(cell.task, cell.method),
}
MEASURES: dict[str, Callable[[Runs, Cell], dict[int, float]]] = {
    "speedup": _saved,
    "gain": _saved,
    "reached_speedup": _reached_speedup,
    "steps": _steps,
    "steps_without": _steps_without,
    "value_at": _value_at,
    "last_quarter": _last_quarter,
    "final": _done(lambda part: part.final),
    "best": _done(lambda part: part.best),
    "peak_gb": _done(lambda part: 1e-9 * part.peak_memory_bytes),
    "train_seconds": _done(lambda part: part.train_seconds),
    "evaluation_seconds": _done(lambda part: part.evaluation_seconds),
    "nowcast_seconds": _done(lambda part: part.nowcast_seconds),
    "seconds_to_target": _seconds_to_target,
    "time_saved_percent": _time_saved,
    "seconds_per_step": _done(lambda part: part.train_seconds / part.budget),
    "seconds_per_nowcast": _seconds_per_nowcast,
    # what nowcasts add to the time of the base optimizer's steps; evaluation counts as neither
    "overhead_percent": _done(lambda part: 100 * part.nowcast_seconds / part.train_seconds),
    "nowcasts": _of_nowcasts(len),
    "kept": _of_nowcasts(lambda nowcasts: (nowcasts.accepted == 1).sum()),
    "refused": _of_nowcasts(lambda nowcasts: (nowcasts.accepted == 0).sum()),
    # a NaN loss counts as raised
    "raised_percent": _of_nowcasts(lambda nowcasts: 100 * (~(nowcasts.loss_after <= nowcasts.loss_before)).mean()),
    "first_change_percent": _of_nowcasts(lambda nowcasts: _change(nowcasts).iloc[0]),
    "worst_change_percent": _of_nowcasts(lambda nowcasts: _change(nowcasts).max(skipna=False)),
}
PLANNED: dict[str, Callable[[ReportSpec, MethodSpec], float]] = {  # values that follow from the config alone
    "period": _planned(lambda schedule: schedule.period),
    "spacing": _planned(lambda schedule: schedule.spacing),
    "context": _planned(lambda schedule: schedule.context),
    "reach": _reach,
}
