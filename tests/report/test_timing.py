from __future__ import annotations

from pathlib import Path

import pytest

from nino.report.cells import measure
from nino.report.measures import Cell
from nino.report.rendering import Table
from nino.report.runs import Key, read_runs
from nino.report.timing import timing_table

from .conftest import hit_runs, write_run

MISS = float("inf")


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
    assert row.time_saved_pairs == 1
    assert row.time_saved_percent == pytest.approx(75.0)  # seed 3000 alone
    assert row.seconds_to_target == pytest.approx((2 + 1 + 1) / 3)


def test_overhead_and_seconds_a_nowcast_are_those_of_the_studies(tmp_path: Path) -> None:
    """One value a seed whose run is done: neither a slow run nor one that diverged weighs more than another."""
    runs = hit_runs(tmp_path, {"base": [400] * 3, "nino": [200] * 3})
    task = runs.spec.tasks[0]
    log = runs.logs[Key(task.id, "nino", 1000)]
    steps, values = log.step.to_numpy(), log.test.to_numpy()
    slow = {"train_seconds": 100.0, "nowcast_seconds": 20.0}
    write_run(tmp_path, Key(task.id, "nino", 2000), task, steps, values, **slow)
    diverged = {"status": "diverged", "reason": "loss is nan", "train_seconds": 1.0, "nowcast_seconds": 1.0}
    write_run(tmp_path, Key(task.id, "nino", 3000), task, steps[:-1], values[:-1], **diverged)
    runs = read_runs(tmp_path, runs.spec)
    row = timing_table(runs).data.set_index("method").loc["nino"]
    expected = {"overhead_percent": (5 + 20) / 2, "seconds_per_nowcast": (0.05 + 2) / 2}
    for name, value in expected.items():
        assert row[name] == measure(runs, Cell(name, "nino", task.id)).mean == pytest.approx(value)


def with_shares(tmp_path: Path, shares: dict[tuple[str, int], float | None]) -> Table:
    """A table of two seeds beside whose runs others had these shares of the cores."""
    runs = hit_runs(tmp_path, {"base": [400, 400], "nino": [200, 100]})
    task = runs.spec.tasks[0]
    for (method, seed), share in shares.items():
        log = runs.logs[Key(task.id, method, seed)]
        key = Key(task.id, method, seed)
        write_run(tmp_path, key, task, log.step.to_numpy(), log.test.to_numpy(), share_of_others=share)
    return timing_table(read_runs(tmp_path, runs.spec))


def test_seconds_under_another_load_are_not_compared(tmp_path: Path) -> None:
    """Adam's second run had a neighbour: that pair is left out, and Adam's mean over both runs says so."""
    table = with_shares(tmp_path, {("base", 2000): 0.5, ("nino", 1000): 0.03})
    text = table.text.set_index("Method")
    assert text.loc["NiNo", "Time saved, %"] == "50.0 (n = 1)"
    assert text.loc["NiNo", "Training, s"] == "10.0 ± 0.0", "three points apart is equal"
    assert (text.loc["Adam", ["Training, s", "Evaluation, s", "Overhead, %"]] == "loads differ").all()
    assert text.loc["Adam", "Others' share, %"] == "25 (0 to 50)"
    assert table.data.set_index("method").loc["base", "share_of_others_high"] == 0.5


def test_no_pair_under_equal_load_is_said(tmp_path: Path) -> None:
    apart = with_shares(tmp_path / "a", {("base", 1000): 0.5, ("base", 2000): 0.5})
    assert apart.text.set_index("Method").loc["NiNo", "Time saved, %"] == "loads differ"
    assert apart.text.set_index("Method").loc["Adam", "Training, s"] == "10.0 ± 0.0", "equal load among themselves"


def test_runs_of_earlier_versions_compare_no_seconds(tmp_path: Path) -> None:
    every = [(method, seed) for method in ("base", "nino") for seed in (1000, 2000)]
    table = with_shares(tmp_path, dict.fromkeys(every))
    text = table.text.set_index("Method").loc["NiNo"]
    assert text["Time saved, %"] == "load unknown" and text["Training, s"] == "10.0 ± 0.0"
    assert "Others' share, %" not in table.text
