from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nino.report.across_tasks import (
    geometric_speedup,
    interquartile_mean,
    probability_of_improvement,
    profile,
    step_ratios,
    summarize,
)
from nino.report.captions import profile_sentence
from nino.report.runs import Runs

from .conftest import hit_runs

NAN, MISS = float("nan"), float("inf")


def test_geometric_mean_by_hand() -> None:
    # Ratios 1/2 and 1/8: geometric mean 1/4.
    steps = {"a": np.array([[100.0, 50.0]]), "b": np.array([[800.0, 100.0]])}
    assert geometric_speedup(steps) == pytest.approx(75.0)


def test_seeds_without_a_run_are_left_out() -> None:
    steps = {"a": np.array([[100.0, 50.0], [100.0, NAN], [NAN, 10.0]]), "b": np.array([[NAN, 100.0]])}
    assert geometric_speedup(steps) == interquartile_mean(steps) == pytest.approx(50.0)
    nothing = {"b": np.array([[100.0, NAN]])}
    assert np.isnan(geometric_speedup(nothing)) and np.isnan(interquartile_mean(nothing))


def test_iqm_drops_a_quarter_at_each_end() -> None:
    base, mine = np.full(8, 100.0), np.array([10.0, 40, 50, 60, 50, 40, 90, 1000])
    # Speed-ups -900 10 | 40 50 50 60 | 60 90: the middle half averages 50.
    assert interquartile_mean({"a": np.stack([base, mine], axis=1)}) == pytest.approx(50.0)


def test_probability_of_improvement_counts_ties_half_and_misses_as_losses() -> None:
    steps = {"a": np.array([[100.0, 50.0], [100.0, 100.0], [100.0, MISS], [MISS, 900.0], [100.0, NAN]])}
    assert probability_of_improvement(steps) == pytest.approx((1 + 0.5 + 0 + 1) / 4)


def test_ratios_of_a_seed_that_all_miss_are_infinite_not_nan() -> None:
    assert np.isinf(step_ratios(np.array([[MISS, MISS]]))).all()


def test_profile_by_hand(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400, MISS, MISS], "nino": [200, 400, 100, MISS]})
    found = profile(runs, ("base", "nino"), np.array([1.0, 1.99, 2.0, 4.0]))
    assert found.rho["base"].tolist() == [0.25, 0.25, 0.5, 0.5]
    assert found.rho["nino"].tolist() == [0.75] * 4


def test_profile_is_a_distribution_within_its_band(runs: Runs) -> None:
    found = profile(runs, runs.spec.realizable)
    assert "oracle" not in found.rho and found.taus[0] == 1 and found.taus[-1] == 4
    for method, rho in found.rho.items():
        assert (np.diff(rho) >= 0).all() and rho.min() >= 0 and rho.max() <= 1
        assert (found.low[method] <= rho).all() and (rho <= found.high[method]).all()
    # Someone is the fastest of every seed that anyone reached.
    assert sum(rho[0] for rho in found.rho.values()) >= 1


@given(st.permutations(range(4)))
def test_order_of_seeds_changes_nothing(order: list[int]) -> None:
    steps = np.array([[100.0, 50.0], [200.0, 150.0], [300.0, 900.0], [900.0, 10.0]])
    for statistic in (geometric_speedup, interquartile_mean, probability_of_improvement):
        assert statistic({"a": steps[list(order)]}) == pytest.approx(statistic({"a": steps}))


def test_a_summary_is_over_all_seeds_and_says_what_bound_it_is(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, MISS, 600, 500], "nino": [200, 500, 300, 250]})
    found = summarize(runs, "nino")
    assert found.speedup_percent == pytest.approx(100 * (1 - 1250 / 2500)) and found.bound == "≥"
    assert found.reached_speedup_percent == found.geometric_speedup_percent == pytest.approx(50.0)
    assert found.interval.kind == "bootstrap" and found.interval.low <= 50.0 <= found.interval.high


def test_summary_states_misses(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400, 400], "nino": [200, MISS, NAN]})
    found = summarize(runs, "nino")
    assert (found.runs_reached, found.runs, found.tasks, found.tasks_planned) == (1, 2, 1, 1)


def test_profile_leaves_methods_without_any_run_out(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "wnn+": [NAN, NAN], "nino": [200, 100]})
    assert set(profile(runs, runs.spec.realizable).rho) == {"base", "nino"}
    nothing = hit_runs(tmp_path / "b", {"base": [NAN]})
    assert profile(nothing, ("base",)).rho == {}


def test_profile_is_of_the_seeds_that_every_method_has(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path / "a", {"base": [400, NAN, 400], "nino": [200, 100, MISS]})
    found = profile(runs, ("base", "nino"), np.array([1.0, 2.0]))
    assert found.rho["base"].tolist() == [0.5, 1.0] and found.rho["nino"].tolist() == [0.5, 0.5]
    assert "Of 3 planned seeds it shows the 2 that every method has a run of." in profile_sentence(runs, found)
    apart = hit_runs(tmp_path / "b", {"base": [400, NAN], "nino": [NAN, 100]})
    assert profile_sentence(apart, profile(apart, ("base", "nino"))) == "No seed has a run of every method yet."
