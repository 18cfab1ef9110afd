import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nino.evaluate.target import best_value, seconds_to_target, steps_to_running_mean, steps_to_target
from nino.specs import TargetSpec

ACCURACY = TargetSpec("accuracy", 90.0)
PERPLEXITY = TargetSpec("perplexity", 100.0)
NAN = math.nan
PERCENT = st.integers(8000, 10000).map(lambda hundredths: hundredths / 100)  # a mean of less cannot round up to 90


def log(values, steps=None):
    return {"step": list(range(1, len(values) + 1)) if steps is None else steps, "test": values}


@pytest.mark.parametrize(
    ("values", "steps", "target", "expected"),
    [
        ([10, 20, 30], None, ACCURACY, None),  # never reached
        ([95, 20, 30], None, ACCURACY, 1),  # at the first evaluation
        ([90.0, 99.0], None, ACCURACY, 1),  # exactly met; not the best
        ([80, 90, 90, 90], None, ACCURACY, 2),  # ties: the first
        ([91, 99, 80, 92], [40, 10, 20, 30], ACCURACY, 10),  # unsorted
        ([80, 95], [7, 7], ACCURACY, 7),  # a step measured twice
        ([NAN, NAN], None, ACCURACY, None),
        ([NAN, 95, NAN], None, ACCURACY, 2),
        ([math.inf, 120, 100, 80], None, PERPLEXITY, 3),  # lower is better
        ([NAN, 120, 101], None, PERPLEXITY, None),
        ([-math.inf], None, ACCURACY, None),
        ([95], [500], ACCURACY, 500),  # one row
        ([85], [500], ACCURACY, None),
        ([], None, ACCURACY, None),  # diverged before the first evaluation
    ],
)
def test_first_hit(values, steps, target, expected) -> None:
    assert steps_to_target(log(values, steps), target) == expected


def test_the_step_is_an_int_and_none_is_not_the_last_step() -> None:
    assert type(steps_to_target(log(np.array([91.0])), ACCURACY)) is int
    assert steps_to_target(log([89.999999]), ACCURACY) is None


@given(st.lists(st.one_of(PERCENT, st.just(NAN)), max_size=30), st.randoms())
def test_order_of_rows_does_not_matter_and_no_earlier_row_meets_the_target(values, random) -> None:
    rows = list(enumerate(values, start=1))
    hit = steps_to_target(log(values), ACCURACY)
    random.shuffle(rows)
    assert steps_to_target(log([v for _, v in rows], [s for s, _ in rows]), ACCURACY) == hit
    assert hit == next((s for s, v in enumerate(values, start=1) if v >= 90), None)


def test_evaluating_less_often_never_finds_an_earlier_hit() -> None:
    values = 90 + np.random.default_rng(0).normal(-1, 0.5, size=400)
    every = steps_to_target(log(values), ACCURACY)
    steps = list(range(1, 401))
    sparse = steps_to_target(log(values[24::25], steps[24::25]), ACCURACY)
    assert every is not None and (sparse is None or sparse >= every)


@pytest.mark.parametrize(
    ("values", "steps", "window", "expected"),
    [
        ([80, 91, 80, 90, 90], None, 2, 5),  # the peak at 2 is not rewarded
        ([91, 91], None, 3, None),  # no whole window yet
        ([91, 91, 91], None, 3, 3),
        ([80, NAN, 95, 95], None, 2, 4),  # NaN in a window: not met
        ([80, 91], [500, 1000], 100, 1000),  # evaluations further apart than the window: the plain first hit
        ([95, 80, 90, 90], [4, 1, 3, 2], 2, 3),  # unsorted
        ([], None, 2, None),
    ],
)
def test_running_mean(values, steps, window, expected) -> None:
    assert steps_to_running_mean(log(values, steps), ACCURACY, window) == expected


@given(st.lists(PERCENT, min_size=1, max_size=30))
def test_a_window_of_one_step_is_the_first_hit(values) -> None:
    assert steps_to_running_mean(log(values), ACCURACY, 1) == steps_to_target(log(values), ACCURACY)


@given(st.lists(PERCENT, min_size=1, max_size=40), st.integers(1, 12))
def test_running_mean_is_never_before_the_first_hit_and_equals_the_slow_version(values, window) -> None:
    found = steps_to_running_mean(log(values), ACCURACY, window)
    slow = [t for t in range(window, len(values) + 1) if np.mean(values[t - window : t]) >= 90]
    assert found == (slow[0] if slow else None)
    if found is not None:
        assert steps_to_target(log(values), ACCURACY) <= found


def test_seconds_leave_evaluation_out_and_belong_to_the_step() -> None:
    table = log([80, 92, 95], [3, 2, 1]) | {"train_seconds": [3, 2, 1], "nowcast_seconds": [0.5, 0.25, 0]}
    assert seconds_to_target(table, ACCURACY) == 1
    table["test"] = [92, 80, 80]
    assert seconds_to_target(table, ACCURACY) == 3.5
    table["test"] = [80, 80, 80]
    assert seconds_to_target(table, ACCURACY) is None


def test_best_value_is_of_the_metrics_direction_and_ignores_what_is_not_finite() -> None:
    assert best_value(log([80, NAN, 95, 90]), ACCURACY) == 95
    assert best_value(log([math.inf, 80, 95]), PERPLEXITY) == 80
    assert best_value(log([NAN]), ACCURACY) is None


def test_bad_logs_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="differ"):
        steps_to_target({"step": [1, 2], "test": [90]}, ACCURACY)
    with pytest.raises(ValueError, match=r"'step' holds nan"):
        steps_to_target({"step": [NAN], "test": [90]}, ACCURACY)
    with pytest.raises(ValueError, match=r"'step' holds 1\.5"):
        steps_to_target({"step": [1.5], "test": [90]}, ACCURACY)
    with pytest.raises(ValueError, match="window"):
        steps_to_running_mean(log([90]), ACCURACY, 0)


def test_the_target_is_read_on_its_own_split():
    log = {"step": [1, 2, 3], "validation": [30.0, 19.0, 18.0], "test": [10.0, 10.0, 40.0]}
    log |= {"train_seconds": [1.0, 2.0, 3.0], "nowcast_seconds": [0.0, 0.0, 0.0]}
    target = TargetSpec("perplexity", 20.0, split="validation")
    assert steps_to_target(log, target) == 2
    assert seconds_to_target(log, target) == 2.0
    assert best_value(log, target) == 18.0
    assert steps_to_running_mean(log, target, window=2) == 3
