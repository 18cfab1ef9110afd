"""Declaring a table: its rows are mappings of plain values, and each of its columns says what it shows of a row.

Every table is laid out here, those that each run has (`nino.report.build`) and those of ``studies.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from nino.report.formats import EMPTY, interval_text, mean_std, number, significant
from nino.report.rendering import Table
from nino.report.runs import Runs
from nino.report.statistics import Interval

Row = Mapping[str, Any]
Show = Callable[[Row], str]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        title: its heading.
        show: the text of its cell in a row.
        optional: whether it is left out where each of its cells is empty.
        once: whether a cell stays blank that repeats the one above it, as in the first column of grouped rows.
        bold: whether its cell in a row is marked as the best.
    """

    title: str
    show: Show
    optional: bool = False
    once: bool = False
    bold: Callable[[Row], bool] = lambda row: False


def lay_out(
    name: str,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    data: Iterable[Row] | None = None,
    hidden: Sequence[str] = (),
    group: Callable[[Row], object] | None = None,
    notes: tuple[str, ...] = (),
    found: tuple[str, ...] = (),
) -> Table:
    """Lay columns over rows.

    Args:
        name: stem of the table's files.
        title: what it shows.
        columns: from left to right.
        rows: what each line of the table is about.
        data: the rows of its CSV file, where these are not the lines that are shown.
        hidden: entries of the rows that the CSV file leaves out.
        group: what consecutive rows share; a line is drawn where it changes.
        notes: sentences below it.
        found: sentences on what it shows.

    Returns:
        The table.
    """
    cells = {column.title: _cells(columns[: i + 1], rows) for i, column in enumerate(columns)}
    empty = [c.title for c in columns if c.optional and set(cells[c.title]) <= {"", EMPTY}]
    frame = pd.DataFrame(list(rows if data is None else data))
    return Table(
        name=name,
        title=title,
        data=frame.drop(columns=list(hidden), errors="ignore"),
        text=pd.DataFrame(cells, columns=[c.title for c in columns], dtype=object).drop(columns=empty),
        bold=frozenset((i, c.title) for c in columns for i, row in enumerate(rows) if c.bold(row)),
        rules=tuple(i for i, (a, b) in enumerate(pairwise(rows), 1) if group and group(a) != group(b)),
        notes=notes,
        found=found,
    )


def _cells(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """The cells of the last of some columns; a repeated one is blank while those that lead to it repeat, too."""
    column = columns[-1]
    shown = [column.show(row) for row in rows]
    if not column.once:
        return shown
    paths = [tuple(c.show(row) for c in columns if c.once) for row in rows]
    return [text if i == 0 or paths[i] != paths[i - 1] else "" for i, text in enumerate(shown)]


def head(runs: Runs, task: str, method: str) -> dict[str, Any]:
    """What a row about a method on a task begins with: ``task``, ``method``, ``label`` and ``role``."""
    return {"task": task, "method": method, "label": runs.spec.label(method), "role": role(runs, method)}


def role(runs: Runs, method: str) -> str:
    """``baseline``, ``method`` or ``control``."""
    if method == runs.spec.baseline:
        return "baseline"
    return "control" if method in runs.spec.controls else "method"


def flat(record: object) -> dict[str, Any]:
    """A dataclass's fields as entries of a row, an interval as three of them."""
    row: dict[str, Any] = {}
    for name, value in vars(record).items():
        row |= ends(value) if isinstance(value, Interval) else {name: value}
    return row


def ends(between: Interval) -> dict[str, Any]:
    """The entries of a row that say what its interval is."""
    return {"interval_low": between.low, "interval_high": between.high, "interval_kind": between.kind}


def plain(key: str) -> Show:
    """An entry as it is, turned to text; a dash where there is none."""
    return lambda row: EMPTY if row[key] in ("", None) else str(row[key])


def fixed(key: str, digits: int = 0) -> Show:
    """A number with so many decimals."""
    return lambda row: number(row[key], digits)


def rounded(key: str, digits: int = 3) -> Show:
    """A number with so many significant digits."""
    return lambda row: significant(row[key], digits)


def spread(mean: str, std: str, digits: int = 0) -> Show:
    """A mean and its standard deviation."""
    return lambda row: mean_std(row[mean], row[std], digits)


def interval(digits: int = 1) -> Show:
    """The row's interval in brackets."""
    return lambda row: interval_text(row["interval_low"], row["interval_high"], digits)


def method_text(row: Row) -> str:
    """A method's label; says so where it is a control."""
    return f"{row['label']} (control)" if row["role"] == "control" else str(row["label"])


def by_task(row: Row) -> object:
    """Rows of a task belong together."""
    return row["task"]


TASK = Column("Task", plain("task"), once=True)
METHOD = Column("Method", method_text)
