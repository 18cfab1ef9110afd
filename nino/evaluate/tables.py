"""The CSV files of a run: fixed columns, empty cells for what was not measured, written whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nino.files import write_text

LOG_COLUMNS = ("step", "train_loss", "validation", "test", "train_seconds", "evaluation_seconds", "nowcast_seconds")
NOWCAST_COLUMNS = ("step", "k", "seconds", "norm", "finite", "accepted", "loss_before", "loss_after")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV: floats with all their digits, seconds with six decimals, None as an empty cell.

    Args:
        path: the file, replaced at once.
        rows: a mapping from each of ``columns`` to int, float, bool, text or None.
        columns: the header, in order.

    Raises:
        KeyError: for a row without one of the columns.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(name, row[name]) for name in columns] for row in rows)
    write_text(path, text.getvalue())


def read_table(path: Path, columns: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Read what `write_table` wrote.

    Args:
        path: the file.
        columns: those that it must have.

    Returns:
        Column -> float64 array, a value per row; NaN for an empty cell, 0 and 1 for booleans.

    Raises:
        ValueError: for a file whose header differs or a row that is not complete; names the file.
    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if tuple(header) != tuple(columns):
        raise ValueError(f"{path} has the columns {header}, expected {list(columns)}: written by another version?")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise ValueError(f"{path}, line {number}: {len(row)} cells, expected {len(columns)}: the file is damaged")
    return {name: np.array([_value(row[i]) for row in rows], dtype=float) for i, name in enumerate(columns)}


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.6f}" if name.endswith("seconds") else repr(value)


def _value(cell: str) -> float:
    return float(cell) if cell else float("nan")
