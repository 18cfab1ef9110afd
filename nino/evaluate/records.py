"""What a run keeps of its nowcasts beside ``nowcasts.csv``: files that runs of earlier versions lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nino.evaluate.around import COLUMNS as AROUND_COLUMNS
from nino.evaluate.jumps import COLUMNS as JUMP_COLUMNS
from nino.evaluate.tables import write_table

RECORDS = {"jumps.csv": JUMP_COLUMNS, "around.csv": AROUND_COLUMNS}
"""Columns by file; a file without rows says that there is no record."""


def write_records(folder: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write all of ``RECORDS``.

    Args:
        folder: of the run.
        rows: by file; none where a file is not named.
    """
    for name, columns in RECORDS.items():
        write_table(folder / name, rows.get(name, ()), columns)


def complete_records(folder: Path) -> None:
    """Add the files that are missing, without rows: the workflow looks for all of them after every run."""
    for name, columns in RECORDS.items():
        if not (folder / name).exists():
            write_table(folder / name, (), columns)
