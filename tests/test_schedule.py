"""The schedule against a slow, obvious version, and its errors."""

from __future__ import annotations

from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nino.schedule import Schedule, horizons, horizons_under


def test_the_papers_horizons():
    assert horizons(10_000, 1000) == [40, 33, 26, 21, 16, 11, 8, 5, 3, 1]


def test_horizons_of_other_powers():
    assert horizons(3000, 1000, 9, 1) == [9, 5, 1]
    assert horizons(3000, 1000, 9, 0) == [9, 9, 9]
    assert horizons(1999, 1000) == [40]


@given(st.integers(1, 40), st.floats(0.5, 4), st.integers(1, 60))
def test_horizons_fall_from_first_to_one(n, power, first):
    ks = horizons(n * 10, 10, first, power)
    assert len(ks) == n and ks[0] == first and ks == sorted(ks, reverse=True)
    assert n == 1 or ks[-1] == 1


def test_a_constant_learning_rate_leaves_the_horizons_as_they_are():
    for steps, period, context, power in [(10_000, 1000, 5, 2.0), (900, 60, 3, 0.5), (120, 20, 2, 1.0)]:
        usual = horizons(steps, period, max_horizon=7, power=power)
        assert horizons_under(lambda step: 2e-3, steps, period, context, max_horizon=7, power=power) == usual


def test_no_horizon_reaches_past_the_last_step():
    assert horizons_under(lambda step: 1.0, 100, 20, max_horizon=40, power=0) == [20, 15, 10, 5, 1]


@given(st.lists(st.floats(0, 1), min_size=60, max_size=60), st.integers(2, 5), st.integers(1, 3))
def test_horizons_end_where_the_rest_of_the_learning_rate_carries_the_movement_of_the_states(rates, context, spacing):
    found = horizons_under(lambda step: rates[step - 1], 60, 15, context, spacing, max_horizon=9, power=1)
    for step, usual, k in zip(range(15, 61, 15), horizons(60, 15, 9, 1), found, strict=True):
        between = rates[step - (context - 1) * spacing - 1 : step - 1]  # from the first state's step to before this one
        ahead = rates[step - 1 : step - 1 + usual * spacing]
        carried = [n for n in range(usual + 1) if fsum(ahead) >= (n - 0.5) * spacing * fsum(between) / len(between)]
        assert 1 <= k <= usual and (not fsum(between) or abs(k - max(carried[-1], 1)) <= 1)


@pytest.mark.parametrize("rate", [-1e-3, float("nan"), float("inf")])
def test_a_learning_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match=r"`rate` \(=.* at step 31\) must be a number from 0"):
        horizons_under(lambda step: rate if step == 31 else 1.0, 100, 20)


def test_one_state_has_no_movement_to_continue():
    with pytest.raises(ValueError, match=r"`context` \(=1\) must be at least 2"):
        horizons_under(lambda step: 1.0, 100, 20, context=1)


@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 20))
def test_saves_and_nowcasts_are_where_they_belong(context, spacing, extra):
    period = (context - 1) * spacing + 1 + extra
    schedule = Schedule(period, context, spacing, (5, 3))
    saving = [period - i * spacing for i in range(context)][::-1]
    events = {turn * period + step: slot for turn in range(4) for slot, step in enumerate(saving)}
    for step in range(1, 3 * period + 1):
        assert schedule.slot(step) == events.get(step)
        assert schedule.is_nowcast(step) == (step in (period, 2 * period, 3 * period))
        assert schedule.next_save(step - 1) == min(e for e in events if e >= step)
        assert schedule.next_nowcast(step - 1) == min(n * period for n in range(1, 5) if n * period >= step)
        assert schedule.horizon(step) == (5 if step <= period else 3)
        assert schedule.reach(step) == spacing * schedule.horizon(step)
    assert list(schedule.nowcasts(3 * period)) == [period, 2 * period, 3 * period]
    assert list(schedule.nowcasts(2 * period - 1)) == [period]
    assert [state for step in schedule.nowcasts(4 * period) for state in schedule.states(step)] == sorted(events)
    assert schedule.horizon(0) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"period": 1001, "context": 5}, r"`period` \(=1001\) must be divisible by `context` \(=5\).*pass 1000"),
        ({"period": 3, "context": 5}, r"`period` \(=3\) must be divisible by `context` \(=5\).*pass 5"),
        ({"period": 0, "context": 5}, r"`period` \(=0\) must be at least 1"),
        ({"period": 1000, "context": 5, "max_train_steps": 999}, r"`max_train_steps` \(=999\) must be at least one"),
        ({"period": 10, "context": 5, "max_train_steps": None}, r"`max_train_steps` \(=None\) is needed"),
        ({"period": 10, "context": 5, "spacing": 3}, r"`spacing` \(=3\).*at most 2"),
        ({"period": 10, "context": 5, "horizons": [3, 0]}, r"`horizons` \(=\[3, 0\]\)"),
        ({"period": 10, "context": 5, "horizons": []}, r"`horizons` \(=\[\]\)"),
        ({"period": 10, "context": 5, "max_horizon": 0}, r"`max_horizon` \(=0\)"),
        ({"period": 10, "context": 5, "power": -1.0}, r"`power` \(=-1.0\)"),
    ],
)
def test_bad_arguments_are_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        Schedule.make(**{"max_train_steps": 10_000, **arguments})


def test_own_spacing_needs_no_divisible_period():
    schedule = Schedule.make(period=7, context=3, spacing=2, horizons=4)
    assert [schedule.slot(step) for step in range(1, 8)] == [None, None, 0, None, 1, None, 2]
    assert schedule.horizon(7) == schedule.horizon(700) == 4
