"""Declaring a table: a row is a mapping of plain values, and a column says which text it shows for a row.

All tables are laid out by `lay_out`: those of every run (`nino.report.build`), of studies, and of releases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from nino.report.formats import EMPTY, between_text, mean_std, number, significant
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
        optional: whether the column is left out if all of its cells are empty.
        once: whether a cell is left blank if it repeats the one above, as in the first column of grouped rows.
        bold: whether the cell in a row is marked as the best.
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
    findings: tuple[str, ...] = (),
) -> Table:
    """Lay columns over rows.

    Args:
        name: stem of the table's files.
        title: what it shows.
        columns: from left to right.
        rows: what each line of the table is about.
        data: the rows of the CSV file; default ``rows``.
        hidden: entries of the rows that the CSV file leaves out.
        group: key of a group of consecutive rows; a line is drawn between groups.
        notes: sentences below it.
        findings: sentences on what it shows.

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
        findings=findings,
    )


def _cells(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """The cells of the last column; a repeated one is blank only if the ``once`` columns before it repeat, too."""
    column = columns[-1]
    shown = [column.show(row) for row in rows]
    if not column.once:
        return shown
    paths = [tuple(c.show(row) for c in columns if c.once) for row in rows]
    return [text if i == 0 or paths[i] != paths[i - 1] else "" for i, text in enumerate(shown)]


def head(runs: Runs, task: str, method: str) -> dict[str, Any]:
    """The entries that a row about a method on a task begins with: ``task``, ``method``, ``label`` and ``role``."""
    return {"task": task, "method": method, "label": runs.spec.label(method), "role": role(runs, method)}


def role(runs: Runs, method: str) -> str:
    """``baseline``, ``method`` or ``control``."""
    if method == runs.spec.baseline:
        return "baseline"
    return "control" if method in runs.spec.controls else "method"


def flat(record: object) -> dict[str, Any]:
    """The fields of a dataclass as entries of a row; an interval becomes three entries."""
    row: dict[str, Any] = {}
    for name, value in vars(record).items():
        row |= ends(value) if isinstance(value, Interval) else {name: value}
    return row


def ends(between: Interval) -> dict[str, Any]:
    """An interval as entries of a row: ``interval_low``, ``interval_high`` and ``interval_kind``."""
    return {"interval_low": between.low, "interval_high": between.high, "interval_kind": between.kind}


def plain(key: str) -> Show:
    """Show an entry as text; a dash if it is missing."""
    return lambda row: EMPTY if row[key] in ("", None) else str(row[key])


def fixed(key: str, digits: int = 0) -> Show:
    """Show a number with a fixed number of decimals."""
    return lambda row: number(row[key], digits)


def rounded(key: str, digits: int = 3) -> Show:
    """Show a number with a fixed number of significant digits."""
    return lambda row: significant(row[key], digits)


def spread(mean: str, std: str, digits: int = 0) -> Show:
    """Show a mean and its standard deviation."""
    return lambda row: mean_std(row[mean], row[std], digits)


def between(row: Row) -> str:
    """The row's interval in brackets, its range as x to y."""
    return between_text(row["interval_low"], row["interval_high"], row["interval_kind"])


def interval(rows: Sequence[Row], confidence: float) -> Column:
    """The column of the rows' intervals, named as what they are: a range of two or three seeds is no interval."""
    kinds = {row["interval_kind"] for row in rows}
    level = f"{100 * confidence:g} % interval"
    title = level if "range" not in kinds else f"[{level}] or range" if "bootstrap" in kinds else "Range of seeds"
    return Column(title, between)


def method_text(row: Row) -> str:
    """A method's label, marked if it is a control."""
    return f"{row['label']} (control)" if row["role"] == "control" else str(row["label"])


def by_task(row: Row) -> object:
    """Group rows by their task."""
    return row["task"]


TASK = Column("Task", plain("task"), once=True)
METHOD = Column("Method", method_text)
