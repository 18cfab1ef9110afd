from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nino.report.runs import Key, Runs, read_runs
from nino.report.steps_to_target import published_values, summary_table, table2
from nino.report.task_descriptions import table1
from nino.specs import ReportSpec, TargetSpec

from .conftest import METHODS, hit_runs, make_task, write_run

NAN, MISS = float("nan"), float("inf")


def test_table1_says_what_was_trained(runs: Runs) -> None:
    text = table1(runs).text.set_index("Task")
    assert text.loc["digits-8", "Target"] == "test accuracy ≥ 85 %"
    assert text.loc["pydoc-2-16", "Target"] == "test perplexity ≤ 20"
    assert text.loc["digits-8", "Parameters"] == "4,000"
    assert text.loc["digits-8", "Examples (train / val. / test)"] == "1,078 / 180 / 539"
    assert text["Meta-training"].tolist() == ["yes", "no"]
    assert "Published target" not in text  # these tasks are not the paper's


def test_table2_groups_controls_and_marks_the_best(runs: Runs) -> None:
    table = table2(runs)
    assert table.data.role.tolist()[:7] == ["baseline", "method", "method", *["control"] * 4]
    assert table.rules == (3, 7, 10)
    assert table.text["Task"].tolist() == ["digits-8", *[""] * 6, "pydoc-2-16", *[""] * 6]
    best = table.data[table.data.best]
    assert best.method.tolist() == ["nino", "nino"]
    assert table.bold == {(2, "Steps to target"), (9, "Steps to target")}
    assert all("(control)" in label for label in table.text["Method"][3:7])


def test_oracle_never_wins(tmp_path: Path) -> None:
    table = table2(hit_runs(tmp_path, {"base": [400, 400], "nino": [300, 300], "oracle": [10, 10]}))
    assert table.data[table.data.best].method.tolist() == ["nino"]


def test_misses_and_gaps_are_cells_and_notes(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "wnn+": [MISS, MISS], "nino": [200, NAN]})
    table = table2(runs)
    text = table.text.set_index("Method")
    assert text.loc["WNN+", "Steps to target"] == "> 1000" and text.loc["WNN+", "Speed-up, %"] == "≤ −150.0 †"
    assert text.loc["WNN+", "Seeds both reached, speed-up, %"] == "–"
    assert text.loc["NiNo", "Reached"] == "1/1 (1 missing)"
    assert any(re.fullmatch(r"Missing \(seeds\): \S+, NiNo \(2000\)\.", note) for note in table.notes)


def test_all_runs_missing_is_a_table_not_an_error(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [NAN, NAN], "nino": [NAN, NAN]})
    assert table2(runs).text["Steps to target"].tolist() == ["missing", "missing"]
    assert table1(runs).text["Parameters"].tolist() == ["–"]
    assert summary_table(runs).data.tasks.tolist() == [0]


def test_diverged_run_is_counted_with_its_reason(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "nino": [200, 200]})
    task = runs.spec.tasks[0]
    write_run(
        tmp_path,
        Key(task.id, "nino", 2000),
        task,
        np.array([10]),
        np.array([NAN]),
        status="diverged",
        reason="loss is nan at step 12",
    )
    table = table2(read_runs(tmp_path, runs.spec))
    assert table.text.set_index("Method").loc["NiNo", "Reached"] == "1/2 (1 diverged or failed)"
    assert any("loss is nan at step 12" in note for note in table.notes)


def test_marks_of_separation(tmp_path: Path) -> None:
    runs = hit_runs(
        tmp_path,
        {"base": [500] * 7, "wnn+": [490, 510, 500, 490, 510, 500, 500], "nino": [100, 120, 100, 110, 100, 120, 110]},
    )
    text = table2(runs).text.set_index("Method")["Speed-up, %"]
    assert text["NiNo"] == "78.3"
    assert text["WNN+"].endswith("†")  # not from the baseline, but clearly from the best
    assert not any("no difference can be separated" in note for note in table2(runs).notes)


def test_published_values_stand_beside_ours(tmp_path: Path) -> None:
    task = replace(make_task("fm-16", value=89.5))
    spec = ReportSpec(run="p", tasks=(task,), methods=METHODS, seeds=(1000, 2000, 3000, 4000), resamples=200)
    steps = np.arange(10, 1001, 10)
    for method, hits in (("base", [400, 400, 400, 400]), ("nino", [200, 220, 180, 200])):
        for seed, hit in zip(spec.seeds, hits, strict=True):
            write_run(tmp_path, Key("fm-16", method, seed), task, steps, np.where(steps >= hit, 90.0, 80.0))
    runs = read_runs(tmp_path, spec)
    row = table2(runs).data.set_index("method").loc["nino"]
    assert row.published_steps == 4582 and row.published_source == "table2"
    assert row.published_speedup_percent == pytest.approx(46.76, abs=0.01)
    assert row.difference_points == pytest.approx(50 - 46.76, abs=0.01)
    assert row.difference_half_widths == pytest.approx(
        row.difference_points / ((row.interval_high - row.interval_low) / 2)
    )
    assert np.isnan(table2(runs).data.set_index("method").loc["wnn+"].published_steps)
    assert "Published steps" in table2(runs).text
    assert published_values(runs, task, "nino-released") == published_values(runs, task, "nino")


def test_published_values_do_not_stand_beside_another_target(runs: Runs) -> None:
    task = replace(make_task("fm-16"), target=TargetSpec("accuracy", 80.0))
    assert published_values(runs, task, "nino") == (None, None)


def test_summary_gives_the_mean_over_tasks(runs: Runs) -> None:
    per_task = table2(runs).data
    overall = summary_table(runs).data.set_index("method")
    for method in ("nino", "random"):
        expected = per_task[per_task.method == method].speedup_percent.mean()
        assert overall.loc[method].speedup_percent == pytest.approx(expected)
    assert overall.loc["nino"].probability_of_improvement == 1.0
    assert np.isnan(overall.loc["nino"].published_speedup_percent)  # other tasks than the published nine
