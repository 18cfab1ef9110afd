from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nino.report.progress import equivalent_steps, value_at

from .conftest import hit_runs

NAN, MISS = float("nan"), float("inf")


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_a_run_is_worth_no_more_than_its_own_steps(values: list[float]) -> None:
    steps = np.arange(1, len(values) + 1)
    metric = np.array(values)
    found = equivalent_steps(steps, metric, metric, True)
    assert (found <= steps).all()
    assert (np.diff(found) >= 0).all()


def test_equivalent_steps_mirror_for_lower_is_better() -> None:
    base_steps, base, mine = np.array([10, 20, 30]), np.array([3.0, 2.0, 1.0]), np.array([2.0, NAN, 1.5, 0.5])
    expected = [20, 20, 30, MISS]
    assert equivalent_steps(base_steps, base, mine, False).tolist() == expected
    assert equivalent_steps(base_steps, -base, -mine, True).tolist() == expected


def test_equivalent_steps_ignore_nan_of_either_run() -> None:
    found = equivalent_steps(np.array([1, 2, 3]), np.array([NAN, 5.0, 9.0]), np.array([NAN, 5.0]), True)
    assert np.isnan(found[0]) and found[1] == 2


def test_value_at_a_step_of_a_run_that_ended_early_is_nan(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400]})
    log = next(iter(runs.logs.values()))
    assert value_at(log, 395) == 50.0 and value_at(log, 400) == 95.0 and value_at(log, 1000) == 95.0
    assert np.isnan(value_at(log, 5))
    assert np.isnan(value_at(log[log.step <= 500], 1000))
