from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nino.report.measured import fixed_step_table, nowcast_table, timing_table
from nino.report.progress import worth, worth_at
from nino.report.runs import Key, Runs, read_runs
from nino.report.tables import table2

from .conftest import hit_runs, write_run

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
    runs = hit_runs(tmp_path, {"base": [400, 400], "nino": [200, MISS]})
    task = runs.spec.tasks[0]
    log = runs.logs[Key(task.id, "nino", 1000)]
    more = {"step_at_target_running_mean": 250}
    write_run(tmp_path, Key(task.id, "nino", 1000), task, log.step.to_numpy(), log.test.to_numpy(), **more)
    runs = read_runs(tmp_path, runs.spec)
    text = fixed_step_table(runs).text.set_index("Method").loc["NiNo"]
    assert text["Running mean at target"] == "250 (1/2)" and text["Best"] == "72.50 ± 31.82"
    data = table2(runs).data.set_index("method").loc["nino"]
    assert (data.steady_steps_mean, data.steady_reached) == (250.0, 1)
    assert (data.best_mean, data.final_mean) == (72.5, 72.5)
