"""Every method on every task, against the baseline and against the best method."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nino.report.runs import Runs, once
from nino.report.statistics import (
    Interval,
    bound_of_saving,
    estimate,
    generator,
    holm,
    permutation_p,
    sample_mean,
    sample_std,
    saved,
    separates,
)


@dataclass(frozen=True)
class Comparison:
    """A method on a task, against the baseline; a miss counts with the step budget.

    Args:
        task: task id.
        method: method name.
        seeds_planned: seeds in the config.
        seeds_run: seeds with a run (done, diverged or failed).
        seeds_reached: seeds that reached the target.
        seeds_diverged_or_failed: seeds whose run diverged or failed.
        steps_mean: mean steps of all seeds that were run; a lower bound where one missed.
        steps_std: their sample standard deviation; NaN of one seed.
        pairs: seeds that both the method and the baseline were run with.
        bound: how the speed-up bounds the one without misses: ``≥``, ``≤`` or ``≈`` (neither); empty without any.
        speedup_percent: ``100 (1 - mean steps / the baseline's)`` over these pairs.
        interval: bootstrap interval of it, or the range of the seeds' values.
        reached_pairs: seeds that both reached the target with.
        reached_speedup_percent: mean of ``100 (1 - steps / baseline's steps)`` over these alone.
        p_value: exact paired permutation test against the baseline.
        p_holm: the same, corrected for the comparisons of the table.
        separated_from_baseline: whether that separates the two at the report's confidence; None without a test.
        best: whether it is the best contender, see `best_of`.
        separated_from_best: whether a test corrected alike separates a contender from the best; None without one.
    """

    task: str
    method: str
    seeds_planned: int
    seeds_run: int
    seeds_reached: int
    seeds_diverged_or_failed: int
    steps_mean: float
    steps_std: float
    pairs: int
    bound: str
    speedup_percent: float
    interval: Interval
    reached_pairs: int
    reached_speedup_percent: float
    p_value: float
    p_holm: float = float("nan")
    separated_from_baseline: bool | None = None
    best: bool = False
    separated_from_best: bool | None = None


def compare(runs: Runs, task: str, method: str) -> Comparison:
    """Compare a method with the baseline on a task, by itself: p-values are not corrected.

    Args:
        runs: all runs of the report.
        task: task id.
        method: method name; the baseline itself has no speed-up.
    """
    part, base = runs.part(task, method), runs.spec.baseline
    run = runs.counted_steps(task)[method].dropna()
    sample, sign = speedup_sample(runs, task, method)
    mean, interval = estimate(runs.spec, {task: sample} if len(sample) else {})
    reached = reached_speedups(runs, task, method)
    return Comparison(
        task=task,
        method=method,
        seeds_planned=len(part),
        seeds_run=int((part.status != "missing").sum()),
        seeds_reached=int(part.reached.sum()),
        seeds_diverged_or_failed=int(part.status.isin(["diverged", "failed"]).sum()),
        steps_mean=sample_mean(run.to_numpy()),
        steps_std=sample_std(run.to_numpy()),
        pairs=len(sample),
        bound=sign,
        speedup_percent=mean,
        interval=interval,
        reached_pairs=len(reached),
        reached_speedup_percent=sample_mean(reached.to_numpy()),
        p_value=float("nan") if method == base else _p(runs, task, method, base),
    )


@once
def comparisons(runs: Runs) -> list[Comparison]:
    """Every method on every task, in the tables' order; p-values are corrected for all of them (Holm).

    Two families are corrected apart: the comparisons with the baseline, and those of contenders with a task's best.
    """
    spec = runs.spec
    best = {task.id: best_of(runs, task.id) for task in spec.tasks}
    rows = [compare(runs, task.id, method) for task in spec.tasks for method in spec.row_order]
    from_base = holm([row.p_value for row in rows])
    from_best = holm([_p_of_best(runs, row, best[row.task]) for row in rows])
    return [
        replace(
            row,
            p_holm=p,
            separated_from_baseline=separates(spec, p),
            best=row.method == best[row.task],
            separated_from_best=separates(spec, q),
        )
        for row, p, q in zip(rows, from_base, from_best, strict=True)
    ]


def speedup_sample(
    runs: Runs, task: str, method: str, column: str = "steps", base: str | None = None
) -> tuple[pd.DataFrame, str]:
    """The sample that a speed-up is estimated from, misses counted with the budget, and the bound that they make of it.

    Args:
        runs: all runs.
        task: task id.
        method: method name; the baseline itself has none.
        column: of the frame that holds the steps, ``steps`` or ``steady_steps``.
        base: the method that it is compared with; default the baseline.

    Returns:
        See `nino.report.statistics.saved` and `bound_of_saving`.
    """
    base, counted = base or runs.spec.baseline, runs.counted_steps(task, column)
    sample = saved(counted[method], counted[base])
    if method == base:
        sample = sample.iloc[:0]
    missed = runs.steps(task, column).loc[sample.index] == np.inf
    return sample, bound_of_saving(missed[method], missed[base])


def reached_speedups(runs: Runs, task: str, method: str) -> pd.Series:
    """By seed, the percent of the baseline's steps that are saved, of seeds that both reached the target with."""
    steps = runs.steps(task)
    both = np.isfinite(steps[method]) & np.isfinite(steps[runs.spec.baseline])
    if method == runs.spec.baseline:
        both[:] = False
    return 100 * (1 - steps[method][both] / steps[runs.spec.baseline][both])


def contest(runs: Runs, tasks: tuple[str, ...]) -> tuple[str, ...]:
    """The contenders that are ranked on some tasks: those with the most runs; others would leave fewer common seeds."""
    counts = {m: sum(int((runs.part(t, m).status != "missing").sum()) for t in tasks) for m in runs.spec.contenders}
    most = max(counts.values(), default=0)
    return tuple(method for method, count in counts.items() if count and count == most)


def best_of(runs: Runs, task: str) -> str | None:
    """The best contender of a task: fewest steps over the seeds that all of `contest` have, a miss at the budget.

    Returns:
        Its name; None where none of them reached the target.
    """
    ranked = list(contest(runs, (task,)))
    steps = runs.counted_steps(task)[ranked].dropna()
    if not ranked or steps.empty:
        return None
    best = str(steps.mean().idxmin())
    return best if np.isfinite(runs.steps(task).loc[steps.index, best]).any() else None


def _p_of_best(runs: Runs, row: Comparison, best: str | None) -> float:
    """The uncorrected p-value of a contender against its task's best; NaN of all others."""
    if best is None or row.method == best or row.method not in runs.spec.contenders:
        return float("nan")
    return _p(runs, row.task, row.method, best)


def _p(runs: Runs, task: str, method: str, other: str) -> float:
    steps = runs.counted_steps(task)
    return permutation_p(steps[method].to_numpy(), steps[other].to_numpy(), generator(runs.spec))
