"""Statistics of seeds, which are the unit: means, intervals and paired tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from nino.specs import ReportSpec

EXACT_SEEDS = 16  # up to here all 2^n sign patterns of the permutation test are enumerated
RANGE_SEEDS = 3  # up to here a 95 % bootstrap interval is just the range of the values
# how a value with misses bounds the one without
LOWER = "≥"
UPPER = "≤"
EITHER = "≈"

Samples = Mapping[str, pd.DataFrame]
"""Task -> a row per seed: ``value``, finite, and its ``weight`` in the mean."""


@dataclass(frozen=True)
class Interval:
    """An interval of a mean.

    Args:
        low: its lower end.
        high: its upper end.
        kind: ``bootstrap``; ``range`` of two or three seeds, which is no interval at any level; ``none`` of fewer.
    """

    low: float
    high: float
    kind: Literal["bootstrap", "range", "none"]

    @property
    def half_width(self) -> float:
        """Half its width; NaN without an interval, which a range is not."""
        return (self.high - self.low) / 2 if self.kind == "bootstrap" else float("nan")


NO_INTERVAL = Interval(float("nan"), float("nan"), "none")


def sample_mean(values: np.ndarray) -> float:
    """The mean; NaN without values."""
    return float(np.mean(values)) if len(values) else float("nan")


def sample_std(values: np.ndarray) -> float:
    """The sample standard deviation (n - 1); NaN for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def saved(steps: pd.Series, base: pd.Series) -> pd.DataFrame:
    r"""The sample of a speed-up: percent of the baseline's steps that each seed saves, weighed by these steps.

    The weighted mean is ``100 (1 - mean steps / mean steps of the baseline)``, the ratio of the two means that tables
    show. With steps that count a miss with the budget it is the ratio of restricted means.

    Args:
        steps: by seed, finite; NaN where there is no run.
        base: the baseline's, by seed.

    Returns:
        A row per seed that both have: ``value`` and ``weight``.

    Source: restricted means of what is censored: Royston and Parmar, "Restricted mean survival time", BMC Medical
    Research Methodology 2013.

    >>> frame = saved(pd.Series({1: 50.0, 2: 300.0}), pd.Series({1: 100.0, 2: 400.0, 3: 400.0}))
    >>> frame["value"].tolist(), weighted_mean(frame["value"], frame["weight"])
    ([50.0, 25.0], array(30.))
    """
    both = pd.DataFrame({"steps": steps, "weight": base}).dropna()
    return both.assign(value=100 * (1 - both.steps / both.weight))[["value", "weight"]]


def weighted_mean(values: ArrayLike, weights: ArrayLike, axis: int = -1) -> np.ndarray:
    """The mean of values by their weights, along an axis."""
    values, weights = np.asarray(values), np.asarray(weights)
    return np.asarray(np.sum(values * weights, axis=axis) / np.sum(weights, axis=axis))


def bound(signs: Iterable[str]) -> str:
    """How a mean that counts misses with the budget bounds the mean without misses, given how each of its values does.

    >>> bound(["", "≥", "≥"]), bound(["≥", "≤"]), bound([""])
    ('≥', '≈', '')
    """
    kinds = set(signs) - {""}
    return kinds.pop() if len(kinds) == 1 else EITHER if kinds else ""


def bound_of_saving(missed: pd.Series, base_missed: pd.Series) -> str:
    """How a speed-up over these seeds bounds the one without misses.

    Args:
        missed: by seed, whether the method missed the target.
        base_missed: whether the baseline did, of the same seeds.
    """
    kinds = {(False, False): "", (False, True): LOWER, (True, False): UPPER, (True, True): EITHER}
    return bound(kinds[bool(mine), bool(base)] for mine, base in zip(missed, base_missed, strict=True))


def mean_over_tasks(samples: Samples) -> float:
    """The mean over tasks of the tasks' weighted means; NaN without tasks."""
    return sample_mean(np.array([weighted_mean(frame.value, frame.weight) for frame in samples.values()]))


def estimate(spec: ReportSpec, samples: Samples) -> tuple[float, Interval]:
    """Mean over tasks of the tasks' weighted means, each task weighing the same, with its interval.

    Args:
        spec: says the level and how many resamples.
        samples: by task, none empty.

    Returns:
        The mean, NaN without tasks, and its interval. For one task this is its `mean_interval`; for several, a
        percentile bootstrap interval that resamples seeds within tasks. Where a task has only two or three seeds, it is
        the range from the mean of the tasks' lowest values to that of their highest. Where one has a single seed there
        is none: it would pretend that this task never varies.
    """
    frames, mean = list(samples.values()), mean_over_tasks(samples)
    if len(frames) == 1:
        return mean, mean_interval(spec, frames[0].value.to_numpy(), frames[0].weight.to_numpy())
    fewest = min(map(len, frames), default=0)
    if fewest < 2:
        return mean, NO_INTERVAL
    if fewest <= RANGE_SEEDS:
        lowest, highest = (sample_mean(np.array([end(f.value) for f in frames])) for end in (np.min, np.max))
        return mean, Interval(lowest, highest, "range")
    rng, drawn = generator(spec), []
    for frame in frames:
        rows = rng.integers(len(frame), size=(spec.resamples, len(frame)))
        drawn.append(weighted_mean(frame.value.to_numpy()[rows], frame.weight.to_numpy()[rows]))
    tail = (1 - spec.confidence) / 2
    low, high = np.quantile(np.mean(drawn, axis=0), [tail, 1 - tail])
    return mean, Interval(float(low), float(high), "bootstrap")


def mean_interval(spec: ReportSpec, values: np.ndarray, weights: np.ndarray | None = None) -> Interval:
    """A bootstrap interval of the (weighted) mean over seeds, bias-corrected and accelerated.

    Seeds are resampled, each with all that belongs to it, so that pairs stay together. A single value has no interval.
    For two or three values the 95 % bootstrap interval is their range (a resample repeats one value n times with
    probability ``n^-n``, more than 2.5 %), so at every level the range is returned, and called that.

    Args:
        spec: says the level and how many resamples.
        values: (n,) one value per seed, finite.
        weights: (n,) of each in the mean; default equal ones.

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
        (values, np.ones(len(values)) if weights is None else weights),
        weighted_mean,
        paired=True,
        vectorized=True,
        confidence_level=spec.confidence,
        n_resamples=spec.resamples,
        method="BCa",
        rng=generator(spec),
    ).confidence_interval
    return Interval(float(ends.low), float(ends.high), "bootstrap")


def permutation_p(steps: np.ndarray, base: np.ndarray, rng: np.random.Generator) -> float:
    """Two-sided p-value of the hypothesis that a method and the baseline need equally many steps: paired permutations.

    The statistic is the mean of ``log(base / steps)``. All ``2^n`` swaps are enumerated up to 16 seeds; n seeds cannot
    give less than ``2 / 2^n``, so that fewer than 6 separate nothing at the 5 % level.

    Args:
        steps: (seeds,) steps to target, a miss counting with the budget, so that a seed that misses the target is
            neither dropped nor rewarded; NaN where there is no run (the seed is left out).
        base: (seeds,) the baseline's.
        rng: for more than 16 seeds, where swaps are drawn.

    Returns:
        The p-value; NaN without a pair.

    >>> permutation_p(np.full(6, 50.0), np.full(6, 100.0), np.random.default_rng(0))
    0.03125
    """
    both = ~(np.isnan(steps) | np.isnan(base))
    if not both.any():
        return float("nan")
    logs = [np.log(np.maximum(x[both], 1.0)) for x in (base, steps)]
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


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for how many they are: the chance of any false one among them stays below the level.

    Args:
        p_values: of a table's comparisons; NaN, no test, is none of them and stays.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.

    >>> holm([0.01, float("nan"), 0.04, 0.03])
    [0.03, nan, 0.06, 0.06]
    """
    corrected, least = list(p_values), 0.0
    order = sorted((p, i) for i, p in enumerate(p_values) if np.isfinite(p))
    for rank, (p, i) in enumerate(order):
        least = corrected[i] = min(1.0, max(least, (len(order) - rank) * p))
    return corrected


def smallest_n(confidence: float, comparisons: int = 1) -> int:
    """Seeds that the exact paired test needs to separate anything, if so many comparisons are corrected for.

    The smallest n with ``comparisons * 2 / 2^n <= 1 - confidence``.

    >>> smallest_n(0.95), smallest_n(0.95, 12)
    (6, 9)
    """
    return int(np.ceil(np.log2(2 * max(comparisons, 1) / (1 - confidence)) - 1e-9))


def separates(spec: ReportSpec, p_value: float) -> bool | None:
    """Whether a test separates two methods at the report's confidence; None of NaN, no test."""
    return bool(p_value <= 1 - spec.confidence + 1e-12) if np.isfinite(p_value) else None


def generator(spec: ReportSpec) -> np.random.Generator:
    """A new generator with the report's seed, so that an interval does not depend on what was computed before it."""
    return np.random.default_rng(spec.seed)
