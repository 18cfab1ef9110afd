"""Statistics of one task: the seed is the unit, and methods are compared seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from nino.report.runs import Runs

EXACT_SEEDS = 16  # up to here all 2^n sign patterns of the permutation test are enumerated
RANGE_SEEDS = 3  # up to here a 95 % bootstrap interval is just the range of the values


@dataclass(frozen=True)
class Interval:
    """An interval of a mean.

    Args:
        low: its lower end.
        high: its upper end.
        kind: ``bootstrap``; ``range`` of two or three values, which covers less than it should; ``none`` of fewer.
    """

    low: float
    high: float
    kind: Literal["bootstrap", "range", "none"]

    @property
    def half_width(self) -> float:
        """Half its width; NaN without an interval."""
        return (self.high - self.low) / 2


NO_INTERVAL = Interval(float("nan"), float("nan"), "none")


@dataclass(frozen=True)
class Comparison:
    """A method on a task, against the baseline.

    Args:
        task: task id.
        method: method name.
        seeds_planned: seeds in the config.
        seeds_run: seeds with a run (done, diverged or failed).
        seeds_reached: seeds that reached the target.
        seeds_diverged_or_failed: seeds whose run diverged or failed.
        steps_mean: mean steps to target of the seeds that reached it; NaN if none did.
        steps_std: their sample standard deviation; NaN of one seed.
        pairs: seeds that both the method and the baseline reached.
        speedup_percent: mean of ``100 (1 - steps / baseline's steps)`` over these pairs.
        speedup_std: its sample standard deviation over seeds.
        interval: bootstrap interval of ``speedup_percent``.
        p_value: exact paired permutation test against the baseline, misses counted with the step budget.
        separated_from_baseline: whether that test separates the two at the report's confidence; None where there is
            no test.
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
    speedup_percent: float
    speedup_std: float
    interval: Interval
    p_value: float
    separated_from_baseline: bool | None


def sample_mean(values: np.ndarray) -> float:
    """The mean; NaN without values."""
    return float(np.mean(values)) if len(values) else float("nan")


def sample_std(values: np.ndarray) -> float:
    """The sample standard deviation (n - 1); NaN for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def speedups(steps: np.ndarray, base: np.ndarray) -> np.ndarray:
    r"""Speed-up in percent of each pair that reached the target, ``100 (1 - steps / base)``.

    Args:
        steps: (seeds,) steps to target of a method; inf where missed, NaN where there is no run.
        base: (seeds,) the baseline's steps, same seeds in the same order.

    Returns:
        One value per pair of two finite numbers: misses have no speed-up and are stated beside the mean instead.

    >>> speedups(np.array([50.0, np.inf, 80.0]), np.array([100.0, 100.0, np.nan]))
    array([50.])
    """
    both = np.isfinite(steps) & np.isfinite(base)
    return np.asarray(100 * (1 - steps[both] / base[both]))


def mean_interval(values: np.ndarray, confidence: float, resamples: int, rng: np.random.Generator) -> Interval:
    """A bootstrap interval of the mean over seeds (bias-corrected and accelerated).

    Each value is the difference of a pair, so pairs are resampled together. A single value has no interval. For two or
    three values the bootstrap interval is their range at every level (a resample repeats one value n times with
    probability ``n^-n``, more than 2.5 %), so the range is returned.

    Args:
        values: (n,) one value per seed, finite.
        confidence: level in (0, 1).
        resamples: bootstrap resamples.
        rng: the generator to draw them from.

    Source: Efron, "Better bootstrap confidence intervals", JASA 1987.
    """
    if len(values) < 2:
        return NO_INTERVAL
    low, high = float(np.min(values)), float(np.max(values))
    if len(values) <= RANGE_SEEDS:
        return Interval(low, high, "range")
    if low == high:  # all resamples are the same
        return Interval(low, high, "bootstrap")
    ends = stats.bootstrap(
        (values,), np.mean, confidence_level=confidence, n_resamples=resamples, method="BCa", rng=rng
    ).confidence_interval
    return Interval(float(ends.low), float(ends.high), "bootstrap")


def interval_of_mean(runs: Runs, values: np.ndarray) -> Interval:
    """`mean_interval` at the level of the runs' report."""
    return mean_interval(values, runs.spec.confidence, runs.spec.resamples, generator(runs))


def stratified_interval(
    values: Mapping[str, np.ndarray], confidence: float, resamples: int, rng: np.random.Generator
) -> Interval:
    """Percentile bootstrap interval of the mean over tasks of the tasks' means, seeds resampled within each task.

    Args:
        values: task -> (seeds,) values, NaN where a seed has none; a resample without any leaves its task out.
        confidence: level in (0, 1).
        resamples: bootstrap resamples.
        rng: the generator to draw them from.
    """
    means = []
    for value in values.values():
        drawn = value[rng.integers(len(value), size=(resamples, len(value)))]  # (resamples, seeds)
        count = np.count_nonzero(np.isfinite(drawn), axis=1)
        means.append(np.where(count, np.nansum(drawn, axis=1) / np.maximum(count, 1), np.nan))
    table = np.stack(means)  # (tasks, resamples)
    count = np.count_nonzero(np.isfinite(table), axis=0)
    over_tasks = np.nansum(table, axis=0)[count > 0] / count[count > 0]
    tail = (1 - confidence) / 2
    low, high = np.quantile(over_tasks, [tail, 1 - tail])
    return Interval(float(low), float(high), "bootstrap")


def permutation_p(steps: np.ndarray, base: np.ndarray, budget: float, rng: np.random.Generator) -> float:
    """Two-sided p-value of the hypothesis that a method and the baseline need equally many steps: paired permutations.

    The statistic is the mean of ``log(base / steps)``. A miss counts with the step budget, a lower bound of what it
    needs, so that a seed that misses the target is neither dropped nor rewarded. All ``2^n`` swaps are enumerated up to
    16 seeds; n seeds cannot give less than ``2 / 2^n``, so that fewer than 6 separate nothing at the 5 % level.

    Args:
        steps: (seeds,) steps to target; inf where missed, NaN where there is no run (the seed is left out).
        base: (seeds,) the baseline's.
        budget: steps a run may take.
        rng: for more than 16 seeds, where swaps are drawn.

    Returns:
        The p-value; NaN without a pair.

    >>> permutation_p(np.full(6, 50.0), np.full(6, 100.0), 1000.0, np.random.default_rng(0))
    0.03125
    """
    both = ~(np.isnan(steps) | np.isnan(base))
    if not both.any():
        return float("nan")
    logs = [np.log(np.maximum(np.minimum(x[both], budget), 1.0)) for x in (base, steps)]
    return paired_p(logs[0], logs[1], rng)


def paired_p(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> float:
    """Two-sided p-value of the hypothesis that pairs do not differ in the mean; exact up to 16 pairs.

    Args:
        one: (pairs,) finite values.
        other: (pairs,) those that they are paired with.
        rng: for more than 16 pairs, where swaps are drawn.

    >>> paired_p(np.arange(6.0), np.arange(6.0) + 1, np.random.default_rng(0))
    0.03125
    """
    if len(one) == 1:
        return 1.0
    test = stats.permutation_test(
        (one, other),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2 ** min(len(one), EXACT_SEEDS),
        rng=rng,
    )
    return float(test.pvalue)


def compare(runs: Runs, task: str, method: str) -> Comparison:
    """Compare a method with the baseline on a task.

    Args:
        runs: all runs of the report.
        task: task id.
        method: method name; the baseline itself has no speed-up.
    """
    spec, part, steps = runs.spec, runs.part(task, method), runs.steps(task)
    reached = part.steps[part.reached].to_numpy()
    is_base = method == spec.baseline
    gains = np.empty(0) if is_base else speedups(steps[method].to_numpy(), steps[spec.baseline].to_numpy())
    p_value = float("nan") if is_base else _paired_test(runs, task, method, spec.baseline)
    return Comparison(
        task=task,
        method=method,
        seeds_planned=len(part),
        seeds_run=int((part.status != "missing").sum()),
        seeds_reached=len(reached),
        seeds_diverged_or_failed=int(part.status.isin(["diverged", "failed"]).sum()),
        steps_mean=sample_mean(reached),
        steps_std=sample_std(reached),
        pairs=len(gains),
        speedup_percent=sample_mean(gains),
        speedup_std=sample_std(gains),
        interval=interval_of_mean(runs, gains),
        p_value=p_value,
        separated_from_baseline=separates(runs, p_value) if np.isfinite(p_value) else None,
    )


def comparisons(runs: Runs) -> list[Comparison]:
    """Every method on every task, in the tables' order."""
    return [compare(runs, task.id, method) for task in runs.spec.tasks for method in runs.spec.row_order]


def best_of(rows: list[Comparison], contenders: tuple[str, ...]) -> Comparison | None:
    """The best of a task's contenders: most seeds reached, then the largest mean speed-up; None if none has one."""
    candidates = [row for row in rows if row.method in contenders and row.pairs]
    return max(candidates, key=lambda row: (row.seeds_reached, row.speedup_percent), default=None)


def separated_from(runs: Runs, task: str, method: str, other: str) -> bool:
    """Whether the paired permutation test separates two methods on a task at the report's confidence."""
    return separates(runs, _paired_test(runs, task, method, other))


def separates(runs: Runs, p_value: float) -> bool:
    """Whether a test separates two methods at the report's confidence; NaN, no test, does not."""
    return bool(p_value <= 1 - runs.spec.confidence + 1e-12)


def _paired_test(runs: Runs, task: str, method: str, other: str) -> float:
    """`permutation_p` of two methods on a task."""
    steps, budget = runs.steps(task), float(runs.frame[runs.frame.task == task].budget.max())
    return permutation_p(steps[method].to_numpy(), steps[other].to_numpy(), budget, generator(runs))


def generator(runs: Runs) -> np.random.Generator:
    """A new generator with the report's seed, so that an interval does not depend on what was computed before it."""
    return np.random.default_rng(runs.spec.seed)
