from __future__ import annotations

from operator import itemgetter

from nino.report.across_tasks import Summary
from nino.report.columns import Column, between, ends, fixed, flat, interval, lay_out, plain
from nino.report.statistics import NO_INTERVAL, Interval

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
    row = flat(Summary("nino", 1, 1, 3, 3, "≥", 50.0, NO_INTERVAL, 40.0, 50.0, 50.0, 1.0))
    assert list(row)[7:10] == ["interval_low", "interval_high", "interval_kind"]
    assert row["interval_kind"] == "none" and between(row) == "–"


def test_a_range_is_never_headed_as_an_interval() -> None:
    rows = [ends(Interval(1.0, 2.0, kind)) for kind in ("none", "range", "bootstrap")]
    assert [interval(rows[:n], 0.9).title for n in (1, 2, 3)] == [
        "90 % interval",
        "Range of seeds",
        "[90 % interval] or range",
    ]
    assert interval(rows[2:], 0.95).title == "95 % interval"
    assert [interval(rows, 0.9).show(row) for row in rows[1:]] == ["1.0 to 2.0", "[1.0, 2.0]"]
