from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from nino.report.statistics import (
    bound_of_saving,
    estimate,
    holm,
    mean_interval,
    mean_over_tasks,
    paired_p,
    permutation_p,
    saved,
)
from nino.specs import ReportSpec

from .conftest import METHODS, make_task

NAN = float("nan")
SPEC = ReportSpec("x", (make_task("a"),), METHODS, (1,), resamples=400)


def sample(steps: list[float], base: list[float]) -> pd.DataFrame:
    return saved(pd.Series(steps), pd.Series(base))


def sample_of(values: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"value": values, "weight": 1.0})


@given(st.lists(st.tuples(st.floats(1, 1e4), st.floats(1, 1e4)), min_size=1, max_size=8))
def test_a_speedup_is_that_of_the_mean_steps_and_lies_between_the_seeds(pairs: list[tuple[float, float]]) -> None:
    mine, base = (np.array(column) for column in zip(*pairs, strict=True))
    found = sample(mine.tolist(), base.tolist())
    mean, interval = estimate(replace(SPEC, resamples=20), {"a": found})
    assert mean == pytest.approx(100 * (1 - mine.mean() / base.mean()), abs=1e-6 * np.abs(found.value).max())
    slack = 1e-9 * np.abs(found.value).max()
    assert found.value.min() - slack <= mean <= found.value.max() + slack
    assert interval.kind == ("none" if len(pairs) < 2 else "range" if len(pairs) < 4 else "bootstrap")
    if interval.kind == "range":
        assert (interval.low, interval.high) == (found.value.min(), found.value.max())


def test_seeds_of_one_side_alone_are_no_pair() -> None:
    assert sample([200.0, NAN, 300.0], [400.0, 400.0, NAN]).value.tolist() == [50.0]


@pytest.mark.parametrize(
    ("mine", "base", "sign"),
    [([0, 0], [0, 0], ""), ([0, 0], [1, 0], "≥"), ([1, 0], [0, 0], "≤"), ([1, 0], [0, 1], "≈"), ([1, 0], [1, 0], "≈")],
)
def test_a_miss_says_which_way_the_speedup_may_err(mine: list[int], base: list[int], sign: str) -> None:
    assert bound_of_saving(pd.Series(mine) == 1, pd.Series(base) == 1) == sign


def test_tasks_weigh_the_same() -> None:
    # Task a: 1 - 150/200 = 25 %; task b: 75 % from one seed.
    samples = {"a": sample([50.0, 100.0], [100.0, 100.0]), "b": sample([25.0], [100.0])}
    assert mean_over_tasks(samples) == pytest.approx(50.0)
    mean, interval = estimate(SPEC, samples)
    assert mean == pytest.approx(50.0) and interval.kind == "none", "a single seed would seem never to vary"
    assert np.isnan(estimate(SPEC, {})[0]) and estimate(SPEC, {})[1].kind == "none"


def test_two_or_three_seeds_of_a_task_make_a_range_over_tasks_too() -> None:
    few = {"a": sample_of([10.0, 30.0]), "b": sample_of([0.0, 20.0, 40.0, 60.0])}
    assert vars(estimate(SPEC, few)[1]) == {"low": 5.0, "high": 45.0, "kind": "range"}
    enough = {"a": sample_of([10.0, 30.0, 20.0, 20.0]), "b": few["b"]}
    mean, interval = estimate(SPEC, enough)
    assert interval.kind == "bootstrap" and 5 < interval.low < mean < interval.high < 45


def test_the_same_seed_gives_the_same_interval() -> None:
    found = sample([200, 260, 180, 190, 300], [400, 420, 390, 450, 500])
    first, second = (estimate(SPEC, {"a": found}) for _ in range(2))
    assert first == second and first[1].low < first[0] < first[1].high


def test_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    samples = [rng.normal(40, 5, size=20) for _ in range(150)]
    inside = [found.low <= 40 <= found.high for found in (mean_interval(SPEC, sample) for sample in samples)]
    # 95 % of 150 with a binomial spread of 1.8 %; a bootstrap of 20 values covers slightly less than it says
    assert 0.85 <= np.mean(inside) <= 0.99


def test_the_interval_of_a_ratio_of_means_covers_it_about_as_often_as_it_says() -> None:
    """Seeds whose baseline takes long weigh more; methods and baseline are correlated seed by seed."""
    rng, inside = np.random.default_rng(2), []
    for _ in range(150):
        base = rng.lognormal(6, 0.3, size=15)
        found = saved(pd.Series(0.6 * base * rng.lognormal(0, 0.1, size=15)), pd.Series(base))
        true = 100 * (1 - 0.6 * np.exp(0.1**2 / 2))
        interval = estimate(SPEC, {"a": found})[1]
        inside.append(interval.low <= true <= interval.high)
    assert 0.85 <= np.mean(inside) <= 0.99


def test_interval_narrows_with_confidence() -> None:
    values = np.array([10.0, 20.0, 25.0, 40.0, 30.0, 15.0])
    wide, narrow = (mean_interval(replace(SPEC, confidence=c, resamples=2000), values) for c in (0.95, 0.5))
    assert wide.low < narrow.low < values.mean() < narrow.high < wide.high
    normal = norm.interval(0.95, values.mean(), values.std() / np.sqrt(6))
    assert wide.low == pytest.approx(normal[0], abs=2) and wide.high == pytest.approx(normal[1], abs=2)


def test_values_that_are_all_the_same_have_an_interval_of_no_width() -> None:
    found = mean_interval(SPEC, np.full(5, 3.0))
    assert (found.low, found.high, found.kind, found.half_width) == (3.0, 3.0, "bootstrap", 0.0)


def test_permutation_test_enumerates_all_swaps() -> None:
    base, mine = np.array([400.0, 420, 390, 450, 500]), np.array([200.0, 460, 180, 190, 300])
    logs = np.log(base / mine)
    means = [np.mean(np.array(signs) * logs) for signs in product((1, -1), repeat=5)]
    at_least = np.mean([mean >= logs.mean() - 1e-12 for mean in means])
    at_most = np.mean([mean <= logs.mean() + 1e-12 for mean in means])
    found = permutation_p(mine, base, np.random.default_rng(0))
    assert found == pytest.approx(min(1.0, 2 * min(at_least, at_most)))


@pytest.mark.parametrize(("seeds", "smallest"), [(2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_few_seeds_cannot_be_separated(seeds: int, smallest: float) -> None:
    found = permutation_p(np.full(seeds, 10.0), np.full(seeds, 1000.0), np.random.default_rng(0))
    assert found == pytest.approx(smallest)


def test_seeds_without_a_run_are_left_out_of_the_test() -> None:
    rng = np.random.default_rng(0)
    base, mine = np.array([400.0] * 6 + [NAN]), np.array([200.0] * 6 + [100.0])
    assert permutation_p(mine, base, rng) == pytest.approx(2 / 2**6)
    assert np.isnan(permutation_p(np.array([NAN]), np.array([1.0]), rng))
    assert paired_p(np.array([1.0]), np.array([5.0]), rng) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_corrected_p_values_keep_their_order_and_never_shrink(p_values: list[float]) -> None:
    found = np.array(holm(p_values))
    assert (found >= np.array(p_values)).all() and (found <= 1).all()
    assert (np.diff(found[np.argsort(p_values, kind="stable")]) >= 0).all()
    assert found.min() == pytest.approx(min(1, len(p_values) * min(p_values)))
