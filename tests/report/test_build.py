from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nino.report.build import build_tables, console_text, write_tables
from nino.report.runs import CorruptRunError, Key, read_runs
from nino.specs import ReportSpec

from .conftest import PACE, curve, write_run

MACHINE_INDEPENDENT = ("table1", "table2", "summary", "fixed_steps", "nowcasts")


def test_writing_twice_gives_the_same_bytes(results: Path, spec: ReportSpec) -> None:
    write_tables(results, spec)
    files = {path: path.read_bytes() for path in (results / "tables").rglob("*") if path.is_file()}
    write_tables(results, spec)
    assert {path: path.read_bytes() for path in (results / "tables").rglob("*") if path.is_file()} == files
    assert len(files) == 7 * 5 + 7 + 1


def test_tables_1_and_2_do_not_depend_on_seconds(results: Path, spec: ReportSpec) -> None:
    before = {table.name: table.csv() + table.markdown() for table in build_tables(read_runs(results, spec))}
    for task in spec.tasks:
        for method in spec.methods:
            for seed in spec.seeds:
                steps, values = curve(task, PACE[method.name], seed)
                slower = {"train_seconds": 77.0, "peak_memory_bytes": 1, "nowcasts": method.nowcaster != "none"}
                write_run(results, Key(task.id, method.name, seed), task, steps, values, **slower)
    after = {table.name: table.csv() + table.markdown() for table in build_tables(read_runs(results, spec))}
    assert {name for name in before if before[name] != after[name]} == {"timing"}
    assert set(MACHINE_INDEPENDENT) < set(after)


def test_order_of_methods_in_the_config_does_not_change_numbers(results: Path, spec: ReportSpec) -> None:
    turned = replace(spec, methods=spec.methods[::-1])
    one, two = (
        next(t for t in build_tables(read_runs(results, s)) if t.name == "table2").data.set_index(["task", "method"])
        for s in (spec, turned)
    )
    assert one.sort_index().equals(two.sort_index())


def test_summary_is_strict_json_with_the_sentences(results: Path, spec: ReportSpec) -> None:
    write_tables(results, spec)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    summary = json.loads((results / "tables" / "summary.json").read_text(), parse_constant=refuse)
    assert summary["runs"] == {"done": 42}
    assert summary["sentences"]["table2"]
    assert (results / "tables" / "captions" / "table2.rst").read_text().startswith("NiNo reached the target")


def test_nothing_is_written_from_damaged_runs(results: Path, spec: ReportSpec) -> None:
    (Key("digits-8", "nino", 1000).folder(results) / "log.csv").write_text("step\n")
    with pytest.raises(CorruptRunError):
        write_tables(results, spec)
    assert not (results / "tables").exists()


def test_console_shows_the_main_tables(results: Path, spec: ReportSpec) -> None:
    text = console_text(write_tables(results, spec))
    for part in ("Table 1", "Table 2", "Summary", "NiNo", "oracle (control)"):
        assert part in text
    assert "Time and memory" not in text
