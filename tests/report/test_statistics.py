from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from nino.report.statistics import (
    best_of,
    compare,
    comparisons,
    mean_interval,
    permutation_p,
    separated_from,
    speedups,
)

from .conftest import hit_runs

NAN, MISS = float("nan"), float("inf")


def test_speedup_is_paired_by_seed_and_averaged_over_seeds(tmp_path: Path) -> None:
    # Seed by seed: 1 - 200/400 = 50 %, 1 - 150/200 = 25 %, 1 - 300/300 = 0 %. Means of steps would give 27.8 %.
    runs = hit_runs(tmp_path, {"base": [400, 200, 300], "nino": [200, 150, 300]})
    row = compare(runs, "digits-8", "nino")
    assert row.speedup_percent == pytest.approx(25.0)
    assert row.speedup_std == pytest.approx(25.0)
    assert row.steps_mean == pytest.approx(650 / 3)
    assert (row.seeds_planned, row.seeds_run, row.seeds_reached, row.pairs) == (3, 3, 3, 3)
    assert (row.interval.low, row.interval.high, row.interval.kind) == (0.0, 50.0, "range")
    assert not row.separated_from_baseline


def test_swapping_seeds_of_one_method_changes_the_result(tmp_path: Path) -> None:
    one = hit_runs(tmp_path / "a", {"base": [400, 200], "nino": [200, 100]})
    two = hit_runs(tmp_path / "b", {"base": [400, 200], "nino": [100, 200]})
    assert compare(one, "digits-8", "nino").speedup_std == pytest.approx(0.0)
    assert compare(two, "digits-8", "nino").speedup_std == pytest.approx(75 / np.sqrt(2))


def test_lower_is_better_and_higher_is_better_give_the_same_comparison(tmp_path: Path) -> None:
    hits = {"base": [400.0, 200.0, MISS], "nino": [200.0, MISS, 100.0]}
    higher = compare(hit_runs(tmp_path / "a", hits, "accuracy"), "digits-8", "nino")
    lower = compare(hit_runs(tmp_path / "b", hits, "perplexity"), "digits-8", "nino")
    assert higher.speedup_percent == lower.speedup_percent == pytest.approx(50.0)
    assert higher.seeds_reached == lower.seeds_reached == 2
    assert higher.p_value == lower.p_value


def test_single_seed_has_a_value_but_no_spread_and_no_interval(tmp_path: Path) -> None:
    row = compare(hit_runs(tmp_path, {"base": [400], "nino": [100]}), "digits-8", "nino")
    assert row.speedup_percent == pytest.approx(75.0)
    assert np.isnan(row.speedup_std) and np.isnan(row.steps_std)
    assert row.interval.kind == "none" and np.isnan(row.interval.low)
    assert row.p_value == 1.0 and not row.separated_from_baseline


def test_no_seed_reached(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "nino": [MISS, MISS]})
    row = compare(runs, "digits-8", "nino")
    assert (row.seeds_reached, row.seeds_run, row.pairs) == (0, 2, 0)
    assert np.isnan(row.speedup_percent) and np.isnan(row.steps_mean)
    assert row.interval.kind == "none"
    assert best_of([row], ("nino",)) is None


def test_baseline_that_never_arrives_gives_no_speedup_but_a_test(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [MISS] * 6, "nino": [500] * 6})
    row = compare(runs, "digits-8", "nino")
    assert row.pairs == 0 and np.isnan(row.speedup_percent)
    assert row.p_value == pytest.approx(2 / 2**6) and row.separated_from_baseline


def test_missing_runs_are_not_misses(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400, 400], "nino": [200, NAN, MISS]})
    row = compare(runs, "digits-8", "nino")
    assert (row.seeds_planned, row.seeds_run, row.seeds_reached, row.pairs) == (3, 2, 1, 1)


def test_missing_baseline_is_no_pair(tmp_path: Path) -> None:
    row = compare(hit_runs(tmp_path, {"base": [400, NAN], "nino": [200, 100]}), "digits-8", "nino")
    assert row.pairs == 1 and row.speedup_percent == pytest.approx(50.0)


def test_ties_are_no_difference(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400] * 7, "nino": [400] * 7})
    row = compare(runs, "digits-8", "nino")
    assert row.speedup_percent == 0.0 and row.p_value == 1.0 and not row.separated_from_baseline
    assert (row.interval.low, row.interval.high) == (0.0, 0.0)


def test_target_is_first_hit_not_best(tmp_path: Path) -> None:
    # The metric stays at 95 after its first hit at 200 and is best (by ties, last) at 1000: 200 counts.
    assert compare(hit_runs(tmp_path, {"base": [200], "nino": [100]}), "digits-8", "base").steps_mean == 200


def test_best_of_a_task_prefers_reaching_over_being_fast(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "wnn+": [300, 300], "nino": [100, MISS]})
    best = best_of(comparisons(runs), runs.spec.contenders)
    assert best is not None and best.method == "wnn+"


def test_methods_are_compared_with_each_other_too(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [500] * 6, "wnn+": [300] * 6, "nino": [100, 100, 100, 100, 100, 310]})
    assert not separated_from(runs, "digits-8", "nino", "wnn+")
    assert separated_from(runs, "digits-8", "nino", "base")


def test_same_seed_same_interval(tmp_path: Path) -> None:
    hits = {"base": [400, 420, 390, 450, 500], "nino": [200, 260, 180, 190, 300]}
    first, second = (compare(hit_runs(tmp_path / x, hits), "digits-8", "nino").interval for x in "ab")
    assert first == second and first.kind == "bootstrap"
    assert first.low < 49.4 < first.high


def test_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    samples = [rng.normal(40, 5, size=20) for _ in range(150)]
    inside = [
        found.low <= 40 <= found.high
        for found in (mean_interval(sample, 0.95, 400, np.random.default_rng(0)) for sample in samples)
    ]
    # 95 % of 150 with a binomial spread of 1.8 %; a bootstrap of 20 values covers slightly less than it says
    assert 0.85 <= np.mean(inside) <= 0.99


def test_interval_narrows_with_confidence() -> None:
    values = np.array([10.0, 20.0, 25.0, 40.0, 30.0, 15.0])
    wide, narrow = (mean_interval(values, level, 2000, np.random.default_rng(0)) for level in (0.95, 0.5))
    assert wide.low < narrow.low < values.mean() < narrow.high < wide.high
    normal = norm.interval(0.95, values.mean(), values.std() / np.sqrt(6))
    assert wide.low == pytest.approx(normal[0], abs=2) and wide.high == pytest.approx(normal[1], abs=2)


def test_permutation_test_enumerates_all_swaps() -> None:
    base, mine = np.array([400.0, 420, 390, 450, 500]), np.array([200.0, 460, 180, 190, 300])
    logs = np.log(base / mine)
    means = [np.mean(np.array(signs) * logs) for signs in product((1, -1), repeat=5)]
    at_least = np.mean([mean >= logs.mean() - 1e-12 for mean in means])
    at_most = np.mean([mean <= logs.mean() + 1e-12 for mean in means])
    found = permutation_p(mine, base, 1000.0, np.random.default_rng(0))
    assert found == pytest.approx(min(1.0, 2 * min(at_least, at_most)))


@pytest.mark.parametrize(("seeds", "smallest"), [(2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_few_seeds_cannot_be_separated(seeds: int, smallest: float) -> None:
    found = permutation_p(np.full(seeds, 10.0), np.full(seeds, 1000.0), 1000.0, np.random.default_rng(0))
    assert found == pytest.approx(smallest)


def test_permutation_counts_a_miss_with_the_budget() -> None:
    rng = np.random.default_rng(0)
    base = np.array([300.0, 310, 320, 330, 340, 350])
    miss = np.array([MISS, 100, 100, 100, 100, 100])
    capped = np.array([1000.0, 100, 100, 100, 100, 100])
    assert permutation_p(miss, base, 1000.0, rng) == permutation_p(capped, base, 1000.0, rng)
    assert np.isnan(permutation_p(np.array([NAN]), np.array([1.0]), 10.0, rng))


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 1000)), min_size=1, max_size=8))
def test_p_value_is_symmetric_in_the_two_methods(pairs: list[tuple[int, int]]) -> None:
    one, two = np.array(pairs, dtype=float).T
    rng = np.random.default_rng(0)
    p = permutation_p(one, two, 1000.0, rng)
    assert 0 < p <= 1
    assert p == pytest.approx(permutation_p(two, one, 1000.0, rng))


@given(st.lists(st.sampled_from([NAN, MISS, 10.0, 20.0, 500.0]), min_size=1, max_size=6))
def test_speedups_are_finite_and_zero_against_oneself(steps: list[float]) -> None:
    values = np.array(steps)
    found = speedups(values, values)
    assert len(found) == np.isfinite(values).sum()
    assert (found == 0).all()
