from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nino.report.progress import equivalent_steps, settled_step, value_at, worth_at
from nino.report.runs import Key, Runs, read_runs
from nino.specs import ReportSpec

from .conftest import METHODS, curve, hit_runs, make_task, write_run

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


def checked(runs: Runs, **changes: object) -> Runs:
    """The same runs of a task that is evaluated otherwise."""
    task = runs.spec.tasks[0]
    evaluation = replace(task.evaluation, **changes)  # type: ignore[arg-type]
    return replace(runs, spec=replace(runs.spec, tasks=(replace(task, evaluation=evaluation),)))


def test_no_run_is_read_right_after_a_jump(tmp_path: Path) -> None:
    """A nowcast every 100 steps, an evaluation every 10: the last one before the nowcast, for all methods alike."""
    runs = hit_runs(tmp_path, {"base": [400], "nino": [200]})
    task = runs.spec.tasks[0]
    assert [settled_step(runs, task, step) for step in (1000, 500, 530, 550, 90)] == [990, 490, 490, 550, 90]
    before = checked(runs, at_nowcast="before")
    assert settled_step(before, before.spec.tasks[0], 1000) == 1000, "measured before it jumped"
    rarely = checked(runs, test_every=100)
    assert settled_step(rarely, rarely.spec.tasks[0], 500) == 500, "every evaluation follows a jump"
    alone = hit_runs(tmp_path / "b", {"base": [400]})
    write_run(tmp_path / "b", Key(task.id, "base", 1000), task, *curve(task, 1.0, 1000), nowcasts=False)
    assert settled_step(read_runs(tmp_path / "b", alone.spec), task, 1000) == 1000


def test_steps_are_worth_what_the_evaluations_of_all_runs_say(tmp_path: Path) -> None:
    """A row that a hit adds lies at a peak: Adam's at step 410 would make half the steps worth 410, not 600."""
    task = make_task("digits-8", value=90.0)
    task = replace(task, evaluation=replace(task.evaluation, hardest_first=True))
    spec = ReportSpec("x", (task,), (METHODS[0], METHODS[6]), (1000,), resamples=10)
    steps = np.array([*range(50, 401, 50), 410, *range(450, 1001, 50)])
    level = np.where(steps < 600, 80.0, 92.0)
    write_run(tmp_path, Key(task.id, "base", 1000), task, steps, np.where(steps == 410, 95.0, level))
    mine = np.where(steps < 300, 80.0, 89.5)
    write_run(tmp_path, Key(task.id, "nino", 1000), task, steps, np.where(steps == 410, 94.0, mine))
    runs = read_runs(tmp_path, spec)
    assert worth_at(runs, task, "nino", 500) == 600.0
    assert 410 not in runs.grid(Key(task.id, "base", 1000)).step.to_numpy()
