"""What moved between two sets of tables, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nino.files import sha256

KEYS = ("task", "method", "seed", "step")  # columns that identify a row, as far as a table has them
CELL = ("row", "column")  # those of a study's table, a row for each of its cells
UNSTABLE = ("timing", "origins")  # seconds and commits differ between any two runs: these cells are counted, not listed


@dataclass(frozen=True)
class Change:
    """A cell that is not what it was.

    Args:
        table: name of the table.
        row: what names the row, such as ``digits-8, nino``.
        column: the cell's column; empty where the whole row came or went.
        old: its value before; empty for what is new.
        new: its value now; empty for what is gone.
    """

    table: str
    row: str
    column: str
    old: str
    new: str


def changes(old: Path, new: Path) -> list[Change]:
    """Compare the CSV tables of two folders.

    Args:
        old: folder of the earlier tables.
        new: folder of the later ones.

    Returns:
        Every cell that differs, and every row and table that came or went, table by table.
    """
    moved: list[Change] = []
    for name in sorted({path.stem for folder in (old, new) for path in folder.glob("*.csv")}):
        before, after = old / f"{name}.csv", new / f"{name}.csv"
        if not before.exists() or not after.exists():
            there = after.exists()
            moved.append(Change(name, "whole table", "", "" if there else "there", "there" if there else ""))
        elif sha256(before) != sha256(after):
            moved += _cells(name, _read(before), _read(after))
    return moved


def changelog(title: str, moved: list[Change], previous: str | None) -> str:
    """The changes as a Markdown page.

    Args:
        title: name of the later version.
        moved: what `changes` returned.
        previous: name of the earlier version; None for a first one.
    """
    if previous is None:
        return f"# {title}\n\nThe first version.\n"
    lines = [f"# {title}", "", f"What moved since {previous}."]
    for name in dict.fromkeys(change.table for change in moved):
        part = [change for change in moved if change.table == name]
        lines += ["", f"## {name}", ""]
        if name in UNSTABLE:
            lines.append(f"{len(part)} cells; seconds and memory belong to the machine and the moment.")
            continue
        lines += [f"| row | column | {previous} | {title} |", "|---|---|---|---|"]
        lines += [f"| {c.row} | {c.column or 'the row'} | {c.old or '–'} | {c.new or '–'} |" for c in part]
    if not moved:
        lines += ["", "No number: only figures or pages were made anew."]
    return "\n".join(lines) + "\n"


def _read(path: Path) -> dict[str, dict[str, str]]:
    """A table's cells as text, by row and by column."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    keys = [column for column in (CELL if set(CELL) <= set(table.columns) else KEYS) if column in table.columns]
    rows = table.set_index(table[keys].agg(", ".join, axis=1) if keys else table.index.astype(str))
    cells = rows.drop(columns=keys).to_dict("index")
    return {str(name): {str(column): value for column, value in row.items()} for name, row in cells.items()}


def _cells(name: str, before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> list[Change]:
    moved = []
    for row in dict.fromkeys([*before, *after]):
        if row not in before or row not in after:
            there = row in after
            moved.append(Change(name, row, "", "" if there else "there", "there" if there else ""))
            continue
        for column in dict.fromkeys([*before[row], *after[row]]):
            old, new = before[row].get(column, ""), after[row].get(column, "")
            if old != new:
                moved.append(Change(name, row, column, old, new))
    return moved
