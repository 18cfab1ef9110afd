from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nino.evaluate.target import running_mean_score
from nino.evaluate.target.running_mean import spacing, window
from nino.report.measured import fixed_step_table, nowcast_table, timing_table
from nino.report.progress import worth, worth_at
from nino.report.runs import Key, Runs, read_runs
from nino.report.tables import table2
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


def test_nowcasts_by_step_and_method(runs: Runs) -> None:
    table = nowcast_table(runs)
    rows = table.data[(table.data.task == "digits-8") & (table.data.method == "nino")]
    assert rows.step.tolist() == list(range(100, 1001, 100))
    assert (rows.seeds == 3).all() and (rows.accepted == 3).all()
    assert rows.lowered.tolist() == [0, 0, *[3] * 8]
    assert "base" not in set(table.data.method)
    assert table.text.set_index("Method").loc["NiNo", "Loss lowered"].tolist() == ["80 %", "80 %"]


def test_no_nowcasts_at_all_is_an_empty_table(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400]})
    task = runs.spec.tasks[0]
    steps = np.arange(10, 1001, 10)
    write_run(tmp_path, Key(task.id, "base", 1000), task, steps, np.full(100, 95.0), nowcasts=False)
    table = nowcast_table(read_runs(tmp_path, runs.spec))
    assert table.data.empty and "| Task" in table.markdown() and r"\bottomrule" in table.latex()


def test_timing_counts_nowcasts_and_pairs_by_seed(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 800], "nino": [200, 200]})  # 0.01 s a step: 50 % and 75 % saved
    row = timing_table(runs).data.set_index("method").loc["nino"]
    assert row.time_saved_percent == pytest.approx(62.5)
    assert row.seconds_to_target == pytest.approx(2.0)
    assert row.seconds_per_nowcast == pytest.approx(0.05)  # 0.5 s of 10 nowcasts
    assert row.overhead_percent == pytest.approx(5.0)


def test_timing_of_missing_runs_says_so(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400], "nino": [float("nan")]})
    text = timing_table(runs).text.set_index("Method").loc["NiNo"]
    assert text["Training, s"] == "missing"
    assert set(text.drop(["Task", "Training, s"])) == {"–"}


def test_seconds_of_two_machines_are_not_compared(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400, 400], "nino": [200, 100, 100]})
    task = runs.spec.tasks[0]
    for seed, change in ((1000, {"provenance": {"hardware": {"cpu": "another"}}}), (2000, {"members_at_once": 8})):
        log = runs.logs[Key(task.id, "nino", seed)]
        write_run(tmp_path, Key(task.id, "nino", seed), task, log.step.to_numpy(), log.test.to_numpy(), **change)
    row = timing_table(read_runs(tmp_path, runs.spec)).data.set_index("method").loc["nino"]
    assert row.pairs_of_two_machines == 2
    assert row.time_saved_percent == pytest.approx(75.0)  # seed 3000 alone
    assert row.seconds_to_target == pytest.approx((2 + 1 + 1) / 3)


def test_best_and_running_mean_stand_beside_the_first_hit(tmp_path: Path) -> None:
    """The running mean is of the log, whatever the run's record says: of 100 steps, 10 evaluations here."""
    runs = hit_runs(tmp_path, {"base": [400, 400], "nino": [200, MISS]})
    task = runs.spec.tasks[0]
    steps = runs.logs[Key(task.id, "nino", 1000)].step.to_numpy()
    values = np.where(steps == 200, 95.0, np.where(steps >= 300, 95.0, 50.0))  # a peak, then the level
    old = {"step_at_target_running_mean": 250, "running_mean_window": 10}
    write_run(tmp_path, Key(task.id, "nino", 1000), task, steps, values, **old)
    runs = read_runs(tmp_path, runs.spec)
    table = fixed_step_table(runs)
    text = table.text.set_index("Method").loc["NiNo"]
    assert text["Running mean at target"] == "380 (1/2)" and text["Best"] == "72.50 ± 31.82"
    data = table2(runs).data.set_index("method").loc["nino"]
    assert (data.steady_steps_mean, data.steady_reached) == (380.0, 1)
    assert (data.best_mean, data.final_mean) == (72.5, 72.5)
    assert "(100 steps, 10 evaluations, on digits-8)" in table.notes[1]
    assert table.notes[2] == (
        "digits-8: runs that met the target, and that met it by the running mean: Adam 2 and 2 of 2, NiNo 1 and 1 of "
        "2; the mean met it 80 steps later (median; 80 to 180); speed-ups by it: NiNo 20.8 % where the first hit gives "
        "50.0 %."
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
