from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from nino.report.runs import CorruptRunError, Key, read_runs
from nino.specs import ReportSpec

from .conftest import curve, write_run

FIRST = Key("digits-8", "nino", 1000)


def test_every_planned_run_is_a_row_in_the_specs_order(results: Path, spec: ReportSpec) -> None:
    runs = read_runs(results, spec)
    assert len(runs.frame) == 2 * 7 * 3
    assert list(runs.frame.method.unique()) == [method.name for method in spec.methods]
    assert set(runs.frame.status) == {"done"}
    assert runs.frame.reached.all()


def test_what_is_remembered_is_computed_once_and_given_out_as_a_copy(
    results: Path, spec: ReportSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = read_runs(results, spec)
    first = runs.counted_steps("digits-8")
    kept = first.copy()
    first.loc[:, "nino"] = -1.0
    monkeypatch.setattr(type(runs), "steps", lambda *_: pytest.fail("computed again"))
    assert runs.counted_steps("digits-8").equals(kept)
    other = read_runs(results, spec)
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        other.counted_steps("digits-8")  # other runs are others


def test_steps_table_aligns_seeds_and_marks_misses_and_gaps(results: Path, spec: ReportSpec) -> None:
    task = spec.tasks[0]
    steps, values = curve(task, 0.2, 2000)
    write_run(results, Key(task.id, "nino", 2000), task, steps, values)  # too slow: misses
    shutil.rmtree(Key(task.id, "nino", 3000).folder(results))
    table = read_runs(results, spec).steps(task.id)
    assert list(table.index) == [1000, 2000, 3000]
    assert np.isfinite(table.nino[1000]) and np.isinf(table.nino[2000]) and np.isnan(table.nino[3000])


def test_unsorted_log_reads_as_the_sorted_one(results: Path, spec: ReportSpec) -> None:
    before = read_runs(results, spec).logs[FIRST]
    path = FIRST.folder(results) / "log.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *np.random.default_rng(0).permutation(rows)]) + "\n")
    after = read_runs(results, spec)
    assert after.logs[FIRST].equals(before)
    assert after.frame.steps.notna().all()


def test_missing_run_is_a_row_that_says_so(results: Path, spec: ReportSpec) -> None:
    shutil.rmtree(FIRST.folder(results))
    frame = read_runs(results, spec).frame
    row = frame[frame.status == "missing"]
    assert len(row) == 1
    assert row.iloc[0].seed == 1000 and not row.iloc[0].reached
    assert "digits-8/nino/seed=1000" in row.iloc[0].reason


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_diverged_and_failed_runs_are_rows_with_their_reason(results: Path, spec: ReportSpec, status: str) -> None:
    task = spec.tasks[0]
    steps, values = np.array([10, 20]), np.array([12.0, np.nan])
    write_run(results, FIRST, task, steps, values, status=status, reason="loss is nan at step 20", final=None)
    runs = read_runs(results, spec)
    row = runs.frame[runs.frame.status == status].iloc[0]
    assert row.reason == "loss is nan at step 20" and not row.reached
    assert len(runs.logs[FIRST]) == 2


def test_runs_outside_the_report_are_named(results: Path, spec: ReportSpec, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(FIRST.folder(results), FIRST.folder(results).with_name("seed=9"))
    with caplog.at_level(logging.WARNING):
        read_runs(results, spec)
    assert "seed=9" in caplog.text


def damage_json(folder: Path) -> None:
    (folder / "run.json").write_text('{"format": 1,')


def damage_binary(folder: Path) -> None:
    (folder / "log.csv").write_bytes(b"\xff\xfe\x00")


def truncate_line(folder: Path) -> None:
    text = (folder / "log.csv").read_text()
    (folder / "log.csv").write_text(text[: len(text) - 40])


def truncate_rows(folder: Path) -> None:
    lines = (folder / "log.csv").read_text().splitlines(keepends=True)
    (folder / "log.csv").write_text("".join(lines[:-5]))


def empty_log(folder: Path) -> None:
    (folder / "log.csv").write_text("")


def text_in_log(folder: Path) -> None:
    text = (folder / "log.csv").read_text().splitlines()
    text[3] = "abc" + text[3][text[3].index(",") :]
    (folder / "log.csv").write_text("\n".join(text) + "\n")


def repeat_step(folder: Path) -> None:
    lines = (folder / "log.csv").read_text().splitlines(keepends=True)
    (folder / "log.csv").write_text("".join([*lines, lines[-1]]))


def step_beyond_end(folder: Path) -> None:
    lines = (folder / "log.csv").read_text().splitlines(keepends=True)
    (folder / "log.csv").write_text("".join([*lines, lines[-1].replace("1000", "2000", 1)]))


def no_test_value(folder: Path) -> None:
    lines = (folder / "log.csv").read_text().splitlines()
    cells = lines[4].split(",")
    cells[3] = ""
    lines[4] = ",".join(cells)
    (folder / "log.csv").write_text("\n".join(lines) + "\n")


def no_log(folder: Path) -> None:
    (folder / "log.csv").unlink()


def other_run(folder: Path) -> None:
    change(folder, seed=2000)


def unknown_status(folder: Path) -> None:
    change(folder, status="finished")


def newer_format(folder: Path) -> None:
    change(folder, format=3)


def best_step_for_target(folder: Path) -> None:
    change(folder, step_at_target=1000)


def no_status(folder: Path) -> None:
    info = json.loads((folder / "run.json").read_text())
    del info["status"]
    (folder / "run.json").write_text(json.dumps(info))


def change(folder: Path, **values: object) -> None:
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(info | values))


@pytest.mark.parametrize(
    ("damage", "file", "reason"),
    [
        (damage_json, "run.json", "not readable as JSON"),
        (damage_binary, "log.csv", "decode"),
        (truncate_line, "log.csv", "cells, expected 7"),
        (truncate_rows, "log.csv", "rows are missing"),
        (empty_log, "log.csv", "columns"),
        (text_in_log, "log.csv", "abc"),
        (repeat_step, "log.csv", "step 1000 stands there twice"),
        (step_beyond_end, "log.csv", "step 2000 of a run of 1000"),
        (no_test_value, "log.csv", "no test metric at step 40"),
        (no_log, "log.csv", "No such file"),
        (other_run, "run.json", "copied or renamed"),
        (unknown_status, "run.json", "allowed are done, diverged, failed"),
        (newer_format, "run.json", "reads formats 1 and 2"),
        (best_step_for_target, "log.csv", "run.json says 1000"),
        (no_status, "run.json", "lacks the entry 'status'"),
    ],
)
def test_damaged_files_are_named_with_the_reason(
    results: Path, spec: ReportSpec, damage: object, file: str, reason: str
) -> None:
    damage(FIRST.folder(results))  # type: ignore[operator]
    with pytest.raises(CorruptRunError) as error:
        read_runs(results, spec)
    message = str(error.value)
    assert str(FIRST.folder(results) / file) in message
    assert reason in message
    assert "evaluate them again" in message


def test_all_damaged_runs_are_named_at_once(results: Path, spec: ReportSpec) -> None:
    other = Key("pydoc-2-16", "base", 3000)
    damage_json(FIRST.folder(results))
    damage_json(other.folder(results))
    with pytest.raises(CorruptRunError, match=r"(?s)digits-8.*pydoc-2-16"):
        read_runs(results, spec)


def test_damaged_record_of_data_is_named(results: Path, spec: ReportSpec) -> None:
    assert read_runs(results, spec).data["digits-8"]["checksum"] == "a0"
    path = results / "data" / "digits-8.json"
    path.write_text('{"data": {}}')
    with pytest.raises(CorruptRunError, match=r"digits-8\.json.*examples"):
        read_runs(results, spec)
    path.unlink()
    assert "digits-8" not in read_runs(results, spec).data
