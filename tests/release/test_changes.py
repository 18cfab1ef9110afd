"""What moved between two folders of tables."""

from __future__ import annotations

from pathlib import Path

from nino.release.changes import Change, changes


def write(folder: Path, *lines: str) -> Path:
    folder.mkdir()
    (folder / "time.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_cells_of_a_study_are_told_apart_by_row_and_column(tmp_path: Path) -> None:
    """Two cells of a method have the same task and method."""
    head = "row,column,task,method,measure,mean"
    old = write(tmp_path / "old", head, "NiNo,Period,,nino,period,1000", "NiNo,Steps,fm-16,nino,steps,5000")
    new = write(tmp_path / "new", head, "NiNo,Period,,nino,period,1000", "NiNo,Steps,fm-16,nino,steps,5170")
    assert changes(old, new) == [Change("time", "NiNo, Steps", "mean", "5000", "5170")]
    assert changes(old, old) == []


def test_rows_of_other_tables_by_task_and_method(tmp_path: Path) -> None:
    head = "task,method,steps"
    old = write(tmp_path / "old", head, "fm-16,base,9000", "fm-16,nino,5000")
    new = write(tmp_path / "new", head, "fm-16,base,9000", "fm-16,wnn,7000")
    assert changes(old, new) == [
        Change("time", "fm-16, nino", "", "there", ""),
        Change("time", "fm-16, wnn", "", "", "there"),
    ]
