"""The metric at a step, and what a step is worth in steps of the baseline; nothing here depends on a target."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nino.evaluate.target.running_mean import spacing
from nino.report.runs import Key, Runs
from nino.specs import TaskSpec


def equivalent_steps(
    base_steps: np.ndarray, base_values: np.ndarray, values: np.ndarray, higher_is_better: bool
) -> np.ndarray:
    """The baseline's step that first was as good as a method has been so far.

    Args:
        base_steps: (n,) evaluated steps of the baseline, ascending.
        base_values: (n,) its metric there.
        values: (m,) the method's metric at its own evaluations, ascending in step.
        higher_is_better: whether larger values of the metric are better.

    Returns:
        (m,) steps; inf where the baseline never got there, NaN before the method's first finite value.

    >>> base = np.array([10.0, 30.0, 20.0, 40.0])
    >>> equivalent_steps(np.array([1, 2, 3, 4]), base, np.array([5.0, 30.0, 25.0, 50.0]), True)
    array([ 1.,  2.,  2., inf])
    """
    sign = 1.0 if higher_is_better else -1.0
    base_best = np.maximum.accumulate(np.where(np.isnan(base_values), -np.inf, sign * base_values))
    best = np.maximum.accumulate(np.where(np.isnan(values), -np.inf, sign * values))
    first = np.searchsorted(base_best, best, side="left")
    steps = np.append(base_steps.astype(float), np.inf)[first]
    return np.asarray(np.where(np.isneginf(best), np.nan, steps))


def worth(runs: Runs, task: TaskSpec, method: str) -> pd.DataFrame:
    """What a method's steps are worth: `equivalent_steps` seed by seed.

    Args:
        runs: all runs of the report.
        task: the task.
        method: method name.

    Returns:
        A row per step of the grid that every run is evaluated on, a column per seed that both have a run of; no columns
        without such a seed. Rows that a hit or a peak adds are left out, so that all runs are judged by the same steps.
    """
    curves = {}
    for key in runs.keys(task.id, method):
        other = Key(task.id, runs.spec.baseline, key.seed)
        if other not in runs.logs or (base := runs.grid(other)).empty:
            continue
        log, split = runs.grid(key), task.target.split
        steps = equivalent_steps(
            base["step"].to_numpy(), base[split].to_numpy(), log[split].to_numpy(), task.target.higher_is_better
        )
        curves[key.seed] = pd.Series(steps, index=log["step"].to_numpy())
    return pd.DataFrame(curves).sort_index()


def median_worth(runs: Runs, task: TaskSpec, method: str) -> pd.Series:
    """What each of a method's steps is worth, median over seeds; inf where the baseline never was as good.

    Of an even number of seeds the lower of the two middle values, as the mean of a step and inf is no step. A run that
    ended early keeps what its last step was worth.

    Returns:
        By step of the common grid; empty without a seed that both have a run of.
    """
    table = worth(runs, task, method).ffill()
    return table.quantile(0.5, axis=1, interpolation="lower") if len(table.columns) else pd.Series(dtype=float)


def worth_at(runs: Runs, task: TaskSpec, method: str, step: float) -> float:
    """What a method's first ``step`` steps are worth, see `median_worth`; NaN without seeds."""
    until = median_worth(runs, task, method).loc[:step]
    return float(until.iloc[-1]) if len(until) else float("nan")


def settled_step(runs: Runs, task: TaskSpec, step: int) -> int:
    """The step at which all of a task's runs are read in place of ``step``, so that none is read right after a jump.

    It is the last step of the common grid, up to ``step``, that is at least half of the shortest time between two
    nowcasts away from the last nowcast before it in any run of the task. If there is none within the longest time
    between two nowcasts, it is the last step of the grid up to ``step``. Where runs are measured before the nowcast of
    a step (``at_nowcast: before``), that nowcast has not happened yet.

    Args:
        runs: all runs of the report.
        task: the task.
        step: a step.
    """
    every, before = spacing(task), task.evaluation.at_nowcast == "before"
    last = step if step == task.recipe.steps else step // every * every
    tables = [table.step.to_numpy() for key, table in runs.nowcasts.items() if key.task == task.id and len(table) > 1]
    if not tables:
        return last
    jumps, apart = np.unique(np.concatenate(tables)), [float(np.diff(table).min()) for table in tables]
    for at in (last, *range((last - 1) // every * every, max(0, last - int(max(apart))), -every)):
        since = at - jumps[jumps < at if before else jumps <= at]
        if not len(since) or since.min() >= min(apart) / 2:
            return at
    return last


def value_at(log: pd.DataFrame, step: float, split: str = "test") -> float:
    """The metric of the last evaluation up to ``step``; NaN before the first one and after a run has ended early.

    Args:
        log: a run's evaluations, sorted by step.
        step: a step.
        split: data that it was measured on.
    """
    steps = log["step"].to_numpy()
    count = int(np.searchsorted(steps, step, side="right"))
    if not count:
        return float("nan")
    gap = np.diff(steps).max() if len(steps) > 1 else 0
    ended_early = step > steps[-1] + gap
    return float("nan") if ended_early else float(log[split].to_numpy()[count - 1])
