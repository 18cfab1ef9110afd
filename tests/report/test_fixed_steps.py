from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nino.evaluate.target import running_mean_score
from nino.evaluate.target.running_mean import spacing, window
from nino.report.fixed_steps import fixed_step_table
from nino.report.progress import worth, worth_at
from nino.report.runs import Key, read_runs
from nino.report.steps_to_target import table2
from nino.specs import ScheduleSpec

from .conftest import hit_runs, make_task, write_run

MISS = float("inf")


def test_fixed_steps_give_the_last_evaluation_up_to_there(tmp_path: Path) -> None:
    data = fixed_step_table(hit_runs(tmp_path, {"base": [400, 800], "nino": [200, 300]})).data
    found = data.set_index(["method", "step"])["mean"]
    assert found[("base", 250)] == 50.0  # neither seed yet
    assert found[("base", 500)] == pytest.approx((95 + 50) / 2)
    assert found[("nino", 250)] == pytest.approx((95 + 50) / 2)
    assert found[("nino", 1000)] == 95.0
    assert (data.seeds == 2).all()


def test_seeds_that_ended_early_do_not_count_at_later_steps(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "nino": [200, 300]})
    task = runs.spec.tasks[0]
    steps = np.arange(10, 301, 10)
    write_run(
        tmp_path, Key(task.id, "nino", 2000), task, steps, np.full(30, 20.0), status="diverged", reason="loss is nan"
    )
    found = fixed_step_table(read_runs(tmp_path, runs.spec)).data.set_index(["method", "step"])
    assert found.loc[("nino", 250)].seeds == 2
    assert found.loc[("nino", 1000)].seeds == 1 and found.loc[("nino", 1000)]["mean"] == 95.0


def test_worth_of_half_the_steps(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [800, 400, MISS], "nino": [200, 300, 100]})
    task = runs.spec.tasks[0]
    table = worth(runs, task, "nino")
    assert table.loc[500].tolist() == [800.0, 400.0, MISS]
    assert table.loc[50].tolist() == [10.0, 10.0, 10.0]  # as good as the baseline's first evaluation
    assert worth_at(runs, task, "nino", 505) == 800.0 and np.isnan(worth_at(runs, task, "nino", 5))
    text = fixed_step_table(runs).text.set_index("Method")["Half the steps are worth"]
    assert text["NiNo"] == "800"
    mostly = hit_runs(tmp_path / "b", {"base": [MISS, 400, MISS], "nino": [200, 300, 100]})
    assert fixed_step_table(mostly).text["Half the steps are worth"].tolist()[1] == "> 1000"


def test_best_and_running_mean_stand_beside_the_first_hit(tmp_path: Path) -> None:
    """The running mean is of the log, whatever the run's record says: of 100 steps, 10 evaluations here."""
    runs = hit_runs(tmp_path, {"base": [400, 400], "nino": [200, MISS]})
    task = runs.spec.tasks[0]
    steps = runs.logs[Key(task.id, "nino", 1000)].step.to_numpy()
    values = np.where(steps == 200, 95.0, np.where(steps >= 300, 95.0, 50.0))  # a peak, then the level
    old = {"step_at_target_running_mean": 250, "running_mean_window": 10}
    write_run(tmp_path, Key(task.id, "nino", 1000), task, steps, values, **old)
    runs = read_runs(tmp_path, runs.spec)
    assert fixed_step_table(runs).text.set_index("Method").loc["NiNo"]["Best"] == "72.50 ± 31.82"
    table = table2(runs)
    text, data = table.text.set_index("Method").loc["NiNo"], table.data.set_index("method").loc["nino"]
    assert text["Running mean, steps"] == "> 690 (1/2)" and text["Steps to target"] == "> 600"
    assert (data.steady_steps_mean, data.steady_reached) == (690.0, 1)
    assert text["Running mean, speed-up, %"] == "≤ −43.8" and text["Speed-up, %"] == "≤ −50.0 †"
    assert (data.best_mean, data.final_mean) == (72.5, 72.5)
    assert "(100 steps, 10 evaluations, on digits-8)" in table.notes[3]
    assert table.notes[4] == (
        "digits-8: runs that met the target, and that met it by the running mean: Adam 2 and 2 of 2, NiNo 1 and 1 of "
        "2; the mean met it 80 steps later (median; 80 to 180)."
    )


def test_the_running_mean_leaves_out_the_rows_of_peaks(tmp_path: Path) -> None:
    """Hardest images first, all runs have the rows of the validation metric alone: a mean is of five of them."""
    task = make_task("digits-8", value=90.0)
    task = replace(task, evaluation=replace(task.evaluation, hardest_first=True))
    assert spacing(task) == 50 and window(task, ScheduleSpec(period=100)) == 250
    steps = np.array([50, 100, 110, 150, 200, 250, 300, 310, 320, 350, 400, 1000])
    values = np.array([50, 50, 95, 50, 89, 89, 91, 99, 99, 91, 91, 91])
    log = {"step": steps, "test": values}
    assert running_mean_score(log, task, ScheduleSpec(period=100)) == 400  # (89 + 89 + 91 + 91 + 91) / 5


def test_a_mean_of_fewer_runs_says_so(tmp_path: Path) -> None:
    """A run that diverges has no metric at later steps; without n the others' mean would look like that of all."""
    runs = hit_runs(tmp_path, {"base": [400, 400], "nino": [200, 200]})
    task, steps = runs.spec.tasks[0], np.arange(10, 301, 10)
    key = Key(task.id, "nino", 2000)
    write_run(tmp_path, key, task, steps, np.full(30, 50.0), status="diverged", reason="nan")
    row = fixed_step_table(read_runs(tmp_path, runs.spec)).text.set_index("Method").loc["NiNo"]
    assert row["25 % of steps"] == "72.50 ± 31.82" and row["50 % of steps"] == "95.00 (n = 1)"
