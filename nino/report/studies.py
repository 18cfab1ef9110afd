"""The paper's studies as data: which tables there are, and what each cell of them measures (``studies.yaml``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from nino.report.measures import Cell
from nino.report.study_templates import expanded
from nino.specs import ReportSpec


class Place(NamedTuple):
    """A cell with the titles of its row and column."""

    row: str
    column: str
    cell: Cell


class Contrast(NamedTuple):
    """A comparison that the study's sentences state.

    Args:
        mine: a cell.
        other: the one that it is compared with, seed by seed; None where the cell itself is a comparison.
    """

    mine: Place
    other: Place | None = None


@dataclass(frozen=True)
class Study:
    """A table of a study.

    Args:
        name: stem of its files.
        title: what it shows.
        columns: their titles.
        rows: their titles.
        cells: (rows, columns) what is shown.
        x: a number a row, for a figure; None where a row has none.
        x_title: what these numbers are; empty for a study without a figure.
        x_log: whether they are drawn on a logarithmic axis.
        x_measured: column of the runs' frame that gives a row's number in the place of ``x``, by the row's task.
        notes: sentences below it.
        contrasts: what its sentences compare.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    x: tuple[float | None, ...] = ()
    x_title: str = ""
    x_log: bool = False
    x_measured: str = ""
    notes: tuple[str, ...] = ()
    contrasts: tuple[Contrast, ...] = ()


def study(name: str, spec: ReportSpec | None = None) -> Study:
    """A study by its name.

    Args:
        name: of the study.
        spec: of a run, whose tasks and methods get rows and columns of their own where the study wants that (see
            `nino.report.study_templates`); without one their titles stay as they stand in the file.

    Raises:
        ValueError: for an unknown name; says which there are.

    >>> study("vit").cells[1][0].source().value
    50.4
    """
    entries = _read()
    if name not in entries:
        raise ValueError(f"`name` (={name!r}) is no study; there are {', '.join(sorted(entries))}")
    return build(name, expanded(entries[name], spec))


def study_names() -> tuple[str, ...]:
    """Names of all studies, in their order."""
    return tuple(_read())


def build(name: str, entry: Mapping[str, Any]) -> Study:
    """A study from its entry in ``studies.yaml``.

    Args:
        name: of the study.
        entry: ``title``, ``columns`` and ``rows``; ``task`` for all cells, ``x``, ``notes`` and ``contrast`` where
            there are any, and ``more`` (see `nino.report.study_templates`). A row's ``each`` has one entry for each
            column, which overrides all else. The path ``published`` of a cell is that of its column, continued by that
            of its row and then by that of ``each``.

    Returns:
        The study.

    Raises:
        ValueError: for an unknown key, an ``each`` without exactly one entry for each column, or a contrast that names
            a row or column that does not exist.
    """
    columns, rows = entry["columns"], entry["rows"]
    if unknown := sorted(set(entry) - {"title", "columns", "rows", "task", "x", "notes", "more", "contrast"}):
        raise ValueError(f"study {name}: unknown key {unknown[0]!r}")
    cells = []
    for row in rows:
        each = row.get("each", [{}] * len(columns))
        if len(each) != len(columns):
            raise ValueError(
                f"study {name}, row {row['title']}: `each` has {len(each)} entries for {len(columns)} columns"
            )
        common = {"task": entry["task"]} if "task" in entry else {}
        cells.append(tuple(_cell(name, common, column, row, own) for column, own in zip(columns, each, strict=True)))
    axis = entry.get("x", {})
    study = Study(
        name=name,
        title=entry["title"],
        columns=tuple(column["title"] for column in columns),
        rows=tuple(row["title"] for row in rows),
        cells=tuple(cells),
        x=tuple(row.get("x") for row in rows),
        x_title=axis.get("title", ""),
        x_log=axis.get("log", False),
        x_measured=axis.get("measured", ""),
        notes=tuple(entry.get("notes", ())),
    )
    return replace(study, contrasts=tuple(_contrasts(study, entry["contrast"]))) if "contrast" in entry else study


def _contrasts(study: Study, entry: Mapping[str, Any]) -> Iterator[Contrast]:
    """Pair each cell of some ``columns`` with the cell that it is compared with.

    ``against`` names the row (0: the first) or column of that cell; without it, cells are not paired.
    """
    against = entry.get("against")

    def position(kind: str, titles: Sequence[str], title: str | int) -> int:
        if title == 0 or title in titles:
            return 0 if title == 0 else titles.index(str(title))
        raise ValueError(f"study {study.name}: contrast names no {kind} {title!r}; there are {', '.join(titles)}")

    def place(i: int, j: int) -> Place:
        return Place(study.rows[i], study.columns[j], study.cells[i][j])

    for column in entry["columns"]:
        j = position("column", study.columns, column)
        for i in range(len(study.rows)):
            if against is None:
                yield Contrast(place(i, j))
                continue
            other_row = position("row", study.rows, against["row"]) if "row" in against else i
            other_column = position("column", study.columns, against["column"]) if "column" in against else j
            if (other_row, other_column) != (i, j):
                yield Contrast(place(i, j), place(other_row, other_column))


def _cell(name: str, common: Mapping[str, Any], *parts: Mapping[str, Any]) -> Cell:
    merged = dict(common)
    path: list[str | int] = []
    for part in parts:
        path += part.get("published", ())
        merged |= {key: value for key, value in part.items() if key not in ("title", "x", "each", "published")}
    allowed = [field.name for field in fields(Cell)]
    if unknown := sorted(set(merged) - set(allowed)):
        raise ValueError(f"study {name}: unknown key {unknown[0]!r} of a cell; allowed are {', '.join(allowed)}")
    return Cell(**{**merged, "published": tuple(path)})


@cache
def _read() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(files("nino.report").joinpath("studies.yaml").read_text("utf-8"))
    return content
