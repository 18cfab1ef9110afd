from __future__ import annotations

from operator import itemgetter

from nino.report.columns import Column, fixed, flat, interval, lay_out, plain
from nino.report.statistics import NO_INTERVAL, Comparison

ROWS = [
    {"task": "a", "day": "1", "gain": 0.25, "best": False, "aside": None},
    {"task": "a", "day": "1", "gain": 1.5, "best": True, "aside": ""},
    {"task": "b", "day": "1", "gain": float("nan"), "best": False, "aside": None},
]
TASK = Column("Task", plain("task"), once=True)


def test_columns_are_laid_over_rows() -> None:
    columns = (TASK, Column("Gain, %", fixed("gain", 1), bold=itemgetter("best")))
    table = lay_out("t", "T", columns, ROWS, hidden=("best", "aside", "day"), group=itemgetter("task"))
    assert table.text.to_dict("list") == {"Task": ["a", "", "b"], "Gain, %": ["0.2", "1.5", "–"]}
    assert list(table.data) == ["task", "gain"] and table.data.gain[1] == 1.5
    assert table.bold == {(1, "Gain, %")} and table.rules == (2,)


def test_optional_columns_vanish_only_where_empty() -> None:
    columns = [Column(key, plain(key), optional=True) for key in ("task", "aside")]
    assert list(lay_out("t", "T", columns, ROWS).text) == ["task"]
    assert list(lay_out("t", "T", [Column("aside", plain("aside"))], ROWS).text) == ["aside"]


def test_a_cell_is_blank_only_where_all_before_it_repeat() -> None:
    table = lay_out("t", "T", (TASK, Column("Day", plain("day"), once=True)), ROWS)
    assert table.text["Day"].tolist() == ["1", "", "1"]


def test_a_table_without_rows_has_its_headings() -> None:
    table = lay_out("t", "T", (TASK, Column("Gain, %", fixed("gain"))), [], group=itemgetter("task"))
    assert list(table.text) == ["Task", "Gain, %"] and table.data.empty and table.rules == ()
    assert "| Task" in table.markdown() and r"\bottomrule" in table.latex()


def test_a_record_with_its_interval_becomes_entries() -> None:
    row = flat(Comparison("a", "nino", 3, 1, 1, 0, 200.0, float("nan"), 1, 50.0, float("nan"), NO_INTERVAL, 1.0, False))
    assert list(row)[-5:] == ["interval_low", "interval_high", "interval_kind", "p_value", "separated_from_baseline"]
    assert row["interval_kind"] == "none" and interval()(row) == "–"
