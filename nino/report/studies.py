"""The paper's studies as data: which tables there are, and what each cell of them measures (``studies.yaml``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

import yaml

from nino.report.published import Published, published, published_speedup
from nino.report.study_rows import expanded
from nino.specs import ReportSpec, Spec

SPEEDUP = "speedup"  # a published speed-up follows from two published numbers of steps


@dataclass(frozen=True)
class Cell(Spec):
    """What a cell shows.

    Args:
        measure: a key of ``nino.report.measures.MEASURES``.
        method: name of a method; empty where the table has none of it.
        task: id of a task; measures over all tasks need none.
        step: for ``value_at``.
        published: path to the published value: a section of ``published.yaml``, then keys and positions.
        better: ``higher`` or ``lower``; empty where neither is meant, so that no cell is the best.
        digits: decimals shown.
    """

    measure: str
    method: str = ""
    task: str = ""
    step: int = 0
    published: tuple[str | int, ...] = ()
    better: str = ""
    digits: int = 1

    def source(self) -> Published | None:
        """The published value; None where nothing was published."""
        if len(self.published) < 2:
            return None
        section, *keys = self.published
        if section == SPEEDUP:
            return published_speedup(str(keys[0]), str(keys[1])) if len(keys) == 2 else None
        found = published(str(section), *keys)
        return found if found is not None and isinstance(found.value, int | float) else None


@dataclass(frozen=True)
class Contrast:
    """A comparison that the study's sentences state: one cell against another.

    Args:
        mine: (row, column) of a cell.
        other: of the one that it is compared with, by seed; None where the cell itself is a comparison.
    """

    mine: tuple[int, int]
    other: tuple[int, int] | None = None


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
            `nino.report.study_rows`); without one their titles stay as they stand in the file.

    Raises:
        ValueError: for an unknown name; says which there are.

    >>> study("vit").cells[1][0].source().value
    50.4
    """
    known = _read()
    if name not in known:
        raise ValueError(f"`name` (={name!r}) is no study; there are {', '.join(sorted(known))}")
    return build(name, expanded(known[name], spec))


def study_names() -> tuple[str, ...]:
    """Names of all studies, in their order."""
    return tuple(_read())


def study_files(name: str) -> list[str]:
    """The files that a study's table and figure are, below the run's folder.

    >>> study_files("vit")
    ['tables/vit.csv', 'tables/vit.md', 'tables/vit.tex', 'tables/vit.html', 'tables/captions/vit.rst']
    """
    found = [f"tables/{name}.{kind}" for kind in ("csv", "md", "tex", "html")] + [f"tables/captions/{name}.rst"]
    if study(name).x_title:
        found += [f"figures/{name}.svg", f"figures/{name}.png", f"figures/captions/{name}.rst"]
    return found


def study_artifacts(name: str) -> list[tuple[str, str]]:
    """A study's files, each with what a reader of the report sees in it: ``table``, ``figure`` or nothing.

    >>> [file for file, shows in study_artifacts("vit") if shows]
    ['tables/vit.html']
    """
    shown = {".html": "table", ".svg": "figure"}
    return [(file, shown.get(PurePosixPath(file).suffix, "")) for file in study_files(name)]


def build(name: str, entry: Mapping[str, Any]) -> Study:
    """A study from its entry in ``studies.yaml``.

    Args:
        name: of the study.
        entry: ``title``, ``columns`` and ``rows``; ``task`` for all cells, ``x``, ``notes`` and ``contrast`` where
            there are any, and ``more`` (see `nino.report.study_rows`). A row's ``each`` has an entry a column, laid
            over all else; its ``published`` goes on where that of the column ends, as that of ``each`` does.

    Returns:
        The study.

    Raises:
        ValueError: for an unknown key, an ``each`` that has not an entry a column, or a contrast with a row or column
            that there is none of.
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
        cells.append(tuple(_cell(common, column, row, own) for column, own in zip(columns, each, strict=True)))
    axis = entry.get("x", {})
    titles = tuple(row["title"] for row in rows), tuple(column["title"] for column in columns)
    return Study(
        name=name,
        title=entry["title"],
        columns=titles[1],
        rows=titles[0],
        cells=tuple(cells),
        x=tuple(row.get("x") for row in rows),
        x_title=axis.get("title", ""),
        x_log=axis.get("log", False),
        x_measured=axis.get("measured", ""),
        notes=tuple(entry.get("notes", ())),
        contrasts=tuple(_contrasts(name, entry["contrast"], *titles)) if "contrast" in entry else (),
    )


def _contrasts(name: str, entry: Mapping[str, Any], rows: Sequence[str], columns: Sequence[str]) -> Iterator[Contrast]:
    """Every row of some ``columns`` ``against`` a row (0: the first) or column, or without it each cell by itself."""
    against = entry.get("against")

    def position(kind: str, titles: Sequence[str], wanted: str | int) -> int:
        if wanted == 0 or wanted in titles:
            return 0 if wanted == 0 else titles.index(str(wanted))
        raise ValueError(f"study {name}: contrast names no {kind} {wanted!r}; there are {', '.join(titles)}")

    for column in entry["columns"]:
        j = position("column", columns, column)
        for i in range(len(rows)):
            if against is None:
                yield Contrast((i, j))
                continue
            other = (
                position("row", rows, against["row"]) if "row" in against else i,
                position("column", columns, against["column"]) if "column" in against else j,
            )
            if other != (i, j):
                yield Contrast((i, j), other)


def _cell(common: Mapping[str, Any], *parts: Mapping[str, Any]) -> Cell:
    merged = dict(common)
    path: list[str | int] = []
    for part in parts:
        path += part.get("published", ())
        merged |= {key: value for key, value in part.items() if key not in ("title", "x", "each", "published")}
    return Cell.from_dict({**merged, "published": tuple(path)})


@cache
def _read() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(files("nino.report").joinpath("studies.yaml").read_text("utf-8"))
    return content
