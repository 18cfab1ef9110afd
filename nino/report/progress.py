"""The metric at a step, and what a step is worth in steps of the baseline; nothing here depends on a target."""

from __future__ import annotations

import numpy as np
import pandas as pd

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
        A row per evaluated step of the method, a column per seed that both have a run of; no columns without one.
    """
    curves = {}
    for key in runs.keys(task.id, method):
        base = runs.logs.get(Key(task.id, runs.spec.baseline, key.seed))
        if base is None or base.empty:
            continue
        log = runs.logs[key]
        split = task.target.split
        steps = equivalent_steps(
            base["step"].to_numpy(), base[split].to_numpy(), log[split].to_numpy(), task.target.higher_is_better
        )
        curves[key.seed] = pd.Series(steps, index=log["step"].to_numpy())
    return pd.DataFrame(curves).sort_index()


def worth_at(runs: Runs, task: TaskSpec, method: str, step: float) -> float:
    """Median over seeds of what a method's first ``step`` steps are worth; inf where the baseline never was as good.

    For an even number of seeds, the lower of the two middle values (the mean of a step and inf is no step); NaN
    without seeds.
    """
    table = worth(runs, task, method)
    until = table[table.index <= step].ffill()
    if until.empty or table.empty:
        return float("nan")
    values = np.sort(until.iloc[-1].dropna().to_numpy())
    return float(values[(len(values) - 1) // 2]) if len(values) else float("nan")


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
