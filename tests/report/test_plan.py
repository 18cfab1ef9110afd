"""Methods that are planned on some tasks only, and remarks on tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nino.report.build import build_tables, write_tables
from nino.report.figures import write_figures
from nino.report.runs import read_runs
from nino.specs import ReportSpec

REMARK = "the digits are copies of a copy."


@pytest.fixture
def partly(spec: ReportSpec) -> ReportSpec:
    return replace(
        spec, only={"oracle": ("digits-8",), "wnn+": ("digits-8",)}, notes={"digits-8": REMARK}, resamples=50
    )


def test_what_is_not_planned_is_neither_run_nor_missing(complete: Path, partly: ReportSpec) -> None:
    frame = read_runs(complete, partly).frame
    assert set(frame[frame.method == "wnn+"].task) == {"digits-8"}
    assert set(frame[frame.method == "nino"].task) == {"digits-8", "pydoc-2-16"}
    assert set(frame.status) == {"done"}


def test_tables_say_n_a_and_why(complete: Path, partly: ReportSpec) -> None:
    tables = {table.name: table for table in build_tables(read_runs(complete, partly))}
    second = tables["table2"]
    row = second.text[second.data.task.eq("pydoc-2-16") & second.data.method.eq("wnn+")].iloc[0]
    assert (row["Steps to target"], row["Reached"], row["Speed-up, %"], row["p"]) == ("n/a", "–", "–", "–")
    assert "missing" not in second.markdown()
    assert tables["summary"].data.set_index("method").loc["wnn+", ["tasks", "tasks_planned"]].tolist() == [1, 1]
    for name in ("table2", "fixed_steps", "timing"):
        assert "n/a" in tables[name].text.to_string()
    for table in tables.values():
        assert "n/a: WNN+ is planned on digits-8 only." in table.notes
        assert f"digits-8: {REMARK}" in table.notes


def test_a_planned_run_that_is_not_there_is_missing(complete: Path, partly: ReportSpec) -> None:
    spec = replace(partly, methods=(*partly.methods, replace(partly.methods[-1], name="other", label="Other")))
    table = {table.name: table for table in build_tables(read_runs(complete, spec))}["fixed_steps"]
    rows = table.text[table.text.Method == "Other"]
    assert rows["25 % of steps"].tolist() == ["missing", "missing"]


def test_a_method_on_some_tasks_is_left_out_of_the_profile(complete: Path, partly: ReportSpec) -> None:
    assert "wnn+" not in partly.realizable and "nino" in partly.realizable


def test_remarks_stand_in_the_captions_of_their_task(complete: Path, partly: ReportSpec, tmp_path: Path) -> None:
    write_figures(complete, partly, folder=tmp_path)
    captions = {path.stem: path.read_text() for path in (tmp_path / "captions").glob("*.rst")}
    for name, text in captions.items():
        assert (REMARK in text) == (name == "profile" or name.endswith("digits-8")), name
    assert "WNN+ is planned on some tasks only and left out." in captions["profile"]
    assert "WNN+" not in captions["curves-pydoc-2-16"]


def test_remarks_do_not_touch_numbers(complete: Path, spec: ReportSpec, tmp_path: Path) -> None:
    few = replace(spec, resamples=50)
    write_tables(complete, few, tmp_path / "a")
    write_tables(complete, replace(few, notes={"digits-8": REMARK}), tmp_path / "b")
    for path in (tmp_path / "a").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_the_baseline_is_planned_everywhere(spec: ReportSpec) -> None:
    with pytest.raises(ValueError, match="names the baseline 'base'"):
        replace(spec, only={"base": ("digits-8",)})
