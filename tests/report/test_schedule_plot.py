"""The figure of the schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from nino.drawing import styled
from nino.optim import horizons
from nino.report.schedule_plot import schedule_figure
from nino.specs import MethodSpec, ReportSpec
from tests.report.test_plots import line


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with styled():
        yield


def test_schedule_is_that_of_the_optimizer(spec: ReportSpec) -> None:
    steps, ks = line(schedule_figure(spec).axes[0], "1,000 steps")
    assert ks.tolist() == horizons(1000, 100) == [40, 33, 26, 21, 16, 11, 8, 5, 3, 1]
    assert steps.tolist() == list(range(100, 1001, 100))


def test_schedules_of_ones_own_are_drawn_in_steps(spec: ReportSpec) -> None:
    far = MethodSpec("far", "checkpoint", label="states 24 apart", path="a", options={"spacing": 24})
    rare = MethodSpec("rare", "checkpoint", label="rare", path="a", options={"period": 500, "power": 0})
    never = MethodSpec("never", "checkpoint", label="never", path="a", options={"period": 2000})
    mixed = replace(spec, methods=(*spec.methods[:1], *spec.methods[-2:], far, rare, never))
    axes = schedule_figure(mixed).axes[0]
    assert len(axes.get_lines()) == 3  # WNN+ and NiNo share one; there is no nowcast in a run shorter than the period
    assert line(axes, "WNN+, NiNo")[1].tolist() == [20 * k for k in horizons(1000, 100)]
    assert line(axes, "states 24 apart")[1].tolist() == [24 * k for k in horizons(1000, 100)]
    assert [values.tolist() for values in line(axes, "rare")] == [[500, 1000], [4000, 4000]]


def test_the_only_schedule_of_ones_own_is_drawn_as_it_is(spec: ReportSpec) -> None:
    own = replace(spec.methods[-1], options={"period": 250})
    steps, _ = line(schedule_figure(replace(spec, methods=(*spec.methods[:1], own))).axes[0], "1,000 steps")
    assert steps.tolist() == [250, 500, 750, 1000]
