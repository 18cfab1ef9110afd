"""What a study's two sentences say of runs whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from nino.report.cells import measure
from nino.report.findings import difference, findings
from nino.report.measures import Cell
from nino.report.runs import Runs
from nino.report.studies import Study, build

from .conftest import hit_runs

NAN, MISS = float("nan"), float("inf")


ENTRY = {
    "title": "x",
    "columns": [{"title": "Speed-up", "measure": "speedup", "task": "digits-8"}],
    "rows": [{"title": "graph", "method": "nino"}, {"title": "none", "method": "wnn+"}],
    "contrast": {"columns": ["Speed-up"], "against": {"row": "graph"}},
}


def wanted(measure: str = "speedup", **contrast: object) -> Study:
    """A study of NiNo and WNN+ on one task."""
    column = {"title": "Speed-up", "measure": measure, "task": "digits-8"}
    rows = [{"title": "graph", "method": "nino"}, {"title": "none", "method": "wnn+"}]
    entry = {"title": "x", "columns": [column], "rows": rows, "contrast": {"columns": ["Speed-up"], **contrast}}
    return build("x", entry)


def said(runs: Runs | None, study: Study) -> tuple[str, ...]:
    return findings(study, runs, {cell: measure(runs, cell) for row in study.cells for cell in row})


def test_a_difference_is_paired_and_has_its_interval_and_n(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 500, 400], "wnn+": [300, 400, 360], "nino": [200, 250, 240]})
    assert said(runs, wanted(against={"row": "graph"})) == (
        "Speed-up, difference from graph: none −28.5 (−30.0 to −25.0) (n = 3; x to y: range of two or three "
        "seeds, no interval).",
        "All 6 runs that are compared reached the target, and the exact paired test separates 0 of 1 difference from "
        "none; it needs n = 6.",
    )


def test_six_seeds_are_separated_with_a_bootstrap_interval(tmp_path: Path) -> None:
    hits = {"base": [500.0] * 6, "wnn+": [400.0, 410, 390, 400, 410, 400], "nino": [200.0, 210, 190, 220, 200, 210]}
    first, second = said(hit_runs(tmp_path, hits), wanted(against={"row": 0}))
    assert "(n = 6; in brackets the 95 % bootstrap interval)" in first
    assert second.endswith("separates 1 of 1 difference from none.")


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400], "wnn+": [300], "nino": [200]})
    first, second = said(runs, wanted(against={"row": 0}))
    assert first == "Speed-up, difference from graph: none −25.0 (n = 1; no interval of single seeds)."
    assert "separates 0 of 1" in second


def test_a_miss_counts_with_the_budget_and_is_said(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [500, 500], "wnn+": [MISS, 400], "nino": [250, 250]})
    found = difference(runs, Cell("speedup", "wnn+", "digits-8"), Cell("speedup", "nino", "digits-8"))
    assert found is not None and found.mean == pytest.approx((-150 - 30) / 2) and found.pairs == 2
    first, second = said(runs, wanted(against={"row": 0}))
    assert "none −90.0 (−150.0 to −30.0)" in first and first.endswith("no interval; misses at the budget).")
    assert second.startswith(
        "3 of the 4 runs that are compared reached the target (short of it: none, WNN+, digits-8 1/2)"
    )
    steps = difference(runs, Cell("steps", "wnn+", "digits-8"), Cell("steps", "nino", "digits-8"))
    assert steps is not None and steps.mean == pytest.approx((750 + 150) / 2)


def test_without_another_side_cells_stand_by_themselves(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "wnn+": [300, 300], "nino": [200, 100]})
    assert said(runs, wanted())[0].startswith("Speed-up: graph +62.5 (50.0 to 75.0), none +25.0 (25.0 to 25.0) (n = 2;")


def test_what_is_not_there_is_not_claimed(tmp_path: Path) -> None:
    assert said(None, wanted()) == ("Nothing of this has been measured yet.",)
    gone = hit_runs(tmp_path / "a", {"base": [400], "wnn+": [NAN], "nino": [NAN]})
    assert said(gone, wanted(against={"row": 0})) == ("Nothing of this has been measured yet.",)
    missed = hit_runs(tmp_path / "b", {"base": [400], "wnn+": [MISS], "nino": [MISS]})
    first, second = said(missed, wanted(against={"row": 0}))
    assert first.endswith("none 0.0 (n = 1; no interval of single seeds; misses at the budget).") and second.startswith(
        "0 of the 2 runs"
    )
    assert said(missed, wanted("nowcasts")) != said(missed, wanted("value_at"))
    half = hit_runs(tmp_path / "c", {"base": [400], "wnn+": [NAN], "nino": [200]})
    assert said(half, wanted(against={"row": 0}))[0] == (
        "No seed has both sides of a comparison (1 of 2 cells have a value)."
    )
    alone = hit_runs(tmp_path / "d", {"base": [400], "linear": [200]})
    assert said(alone, build("x", {**ENTRY, "rows": [{"title": "l", "method": "linear"}, *ENTRY["rows"]]})) == (
        "No seed has both sides of a comparison (1 of 3 cells have a value).",
    )


def test_a_contrast_with_a_row_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="study x: contrast names no row 'grph'; there are graph, none"):
        wanted(against={"row": "grph"})
    with pytest.raises(ValueError, match="study x: contrast names no column 'Steps'"):
        build("x", {"title": "x", "columns": [], "rows": [{"title": "a"}], "contrast": {"columns": ["Steps"]}})
