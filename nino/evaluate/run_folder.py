"""The folder of a run: its files, their columns and formats, how they are written and read, and what damage is.

A run that ended has a ``run.json`` (its result), written last, and one CSV file for each kind of row that it logged.
Nothing here imports torch, so that reports and the workflow can ask.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nino.evaluate.consistency import LEARNING_RATE, Table, log_faults, nowcast_faults, result_faults
from nino.files import replacing, sha256, write_json, write_text
from nino.specs import TaskSpec

FORMAT = 2
FORMATS = (1, FORMAT)
"""Those of ``run.json`` that this version reads; from 2 on it holds rows and SHA-256 of the files beside it."""
STATUSES = ("done", "diverged", "failed")

RESULT = "run.json"
LOG = "log.csv"
NOWCASTS = "nowcasts.csv"
JUMPS = "jumps.csv"
LOSSES = "around.csv"
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
"""Columns of ``jumps.csv`` that are quantiles over a tensor's elements."""
LOG_COLUMNS = ("step", "train_loss", "validation", "test", "train_seconds", "evaluation_seconds", "nowcast_seconds")
NOWCAST_COLUMNS = ("step", "k", "seconds", "norm", "finite", "accepted", "loss_before", "loss_after")
JUMP_COLUMNS = ("step", "k", "tensor", "kind", "elements", "movement", "change", *QUANTILES, "largest")
LOSS_COLUMNS = ("step", "offset", "loss")
COLUMNS = {LOG: LOG_COLUMNS, NOWCASTS: NOWCAST_COLUMNS, JUMPS: JUMP_COLUMNS, LOSSES: LOSS_COLUMNS}
"""Columns of each CSV file."""
OPTIONAL = {LOG: (LEARNING_RATE,)}
"""Columns that stand last in the files of some runs."""
LATER = (JUMPS, LOSSES)
"""Files that runs of earlier versions lack; without rows, they say that nothing was recorded."""
FILES = (*COLUMNS, RESULT)
"""All files of a run that ended. The last one is written last: with it, the run counts."""

UNFINISHED = "unfinished.pt"  # checkpoint of a run that has not ended
ATTEMPTS = ".attempts.json"  # which attempts at the run have begun
COPIES = ".kept"  # folder with copies of a finished run's files
STATES = "checkpoints"  # folder of the last states, for models that save them

TEXT = ("tensor", "kind")  # columns that hold text; all others hold numbers
REQUIRED = ("format", "task", "method", "seed", "status", "reason", "steps", "step_at_target", "final")


class CorruptRunError(ValueError):
    """A run's files are there but cannot be what the evaluation wrote."""


def write_run(
    folder: Path, result: Mapping[str, Any], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """Write all files of a run that ended, ``run.json`` last.

    Args:
        folder: of the run, created.
        result: the content of ``run.json``, but for what it says of the other files.
        rows: by CSV file, those that have any.

    Returns:
        The content of ``run.json``: ``result`` and, under ``files``, rows and SHA-256 of each CSV file.
    """
    for name, columns in COLUMNS.items():
        more = [column for column in OPTIONAL.get(name, ()) if any(column in row for row in rows.get(name, ()))]
        write_table(folder / name, rows.get(name, ()), [*columns, *more])
    files = {name: {"rows": len(rows.get(name, ())), "sha256": sha256(folder / name)} for name in COLUMNS}
    whole = {**result, "files": files}
    write_json(folder / RESULT, whole)
    return whole


def remove_run(folder: Path) -> None:
    """Delete the files of a run that ended, where there are any; what belongs to an unfinished run stays."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def copy_run(folder: Path, target: Path) -> None:
    """Copy the files of a run that ended, ``run.json`` last."""
    for name in FILES:
        if name not in LATER or (folder / name).exists():
            with replacing(target / name) as path:
                shutil.copyfile(folder / name, path)


def add_later_files(folder: Path) -> None:
    """Write the files that a run of an earlier version lacks, without rows: the workflow expects all of them."""
    for name in LATER:
        if not (folder / name).exists():
            write_table(folder / name, (), COLUMNS[name])


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
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


def _cell(name: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.6f}" if name.endswith("seconds") else repr(value)


def read_table(path: Path) -> Table:
    """Read a CSV file of a run.

    Args:
        path: the file; its name is a key of ``COLUMNS``.

    Returns:
        Column -> array with one value per row, float64 (NaN for an empty cell, 0 and 1 for booleans) or text.

    Raises:
        CorruptRunError: if it cannot be read or has other columns, for a line with fewer or more cells, and for text
            among numbers; names the file.
    """
    columns = COLUMNS[path.name]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if tuple(header) == (*columns, *OPTIONAL.get(path.name, ())):
            columns = tuple(header)
        if tuple(header) != columns:
            raise ValueError(f"has the columns {header}, expected {list(columns)}: written by another version?")
        for number, row in enumerate(rows, start=2):
            if len(row) != len(columns):
                raise ValueError(f"line {number} has {len(row)} cells, expected {len(columns)}: the file is damaged")
        return {name: _column(name, [row[i] for row in rows]) for i, name in enumerate(columns)}
    except (OSError, ValueError) as error:
        raise CorruptRunError(f"{path}: {error}") from error


def _column(name: str, cells: Sequence[str]) -> NDArray[Any]:
    return (
        np.array(cells, dtype=str) if name in TEXT else np.array([float(cell or "nan") for cell in cells], dtype=float)
    )


def read_result(folder: Path) -> dict[str, Any]:
    """Read a run's ``run.json``.

    Raises:
        CorruptRunError: if it is not the result of a run, in the format that this version reads; names the file.
    """
    path = folder / RESULT
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CorruptRunError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(result, dict):
        raise CorruptRunError(f"{path}: holds a {type(result).__name__}, expected an object")
    if missing := [name for name in REQUIRED if name not in result]:
        raise CorruptRunError(f"{path}: lacks the entry {missing[0]!r}")
    if result["format"] not in FORMATS:
        allowed = " and ".join(map(str, FORMATS))
        raise CorruptRunError(f"{path}: format {result['format']!r}, this version reads formats {allowed}")
    if result["format"] >= 2 and set(result.get("files") or ()) != set(COLUMNS):
        raise CorruptRunError(f"{path}: `files` must hold rows and checksum of each of {', '.join(COLUMNS)}")
    if result["status"] not in STATUSES:
        raise CorruptRunError(f"{path}: status {result['status']!r}, allowed are {', '.join(STATUSES)}")
    return result


@dataclass(frozen=True)
class RunFiles:
    """What the folder of a run holds.

    Args:
        result: ``run.json``.
        log: the evaluations, sorted by step.
        nowcasts: the nowcasts, sorted by step.
        jumps: what the nowcasts did to each tensor; None for runs of earlier versions.
        losses: training losses near the nowcasts; None for runs of earlier versions.
    """

    result: dict[str, Any]
    log: Table
    nowcasts: Table
    jumps: Table | None
    losses: Table | None


def read_run(folder: Path, task: TaskSpec, method: str, seed: int) -> RunFiles:
    """Read a run and check its files against each other and against the run that should be there.

    Args:
        folder: of the run.
        task: whose run should be there.
        method: name of the method that it should be trained with.
        seed: that it should have.

    Raises:
        CorruptRunError: for a file that is damaged, incomplete or not the one whose checksum ``run.json`` holds, for
            the files of another run, and for files that contradict each other (see `nino.evaluate.consistency`);
            names the file.
    """
    result = read_result(folder)
    for name, value in {"task": task.id, "method": method, "seed": seed}.items():
        if result[name] != value:
            raise CorruptRunError(
                f"{folder / RESULT}: {name} {result[name]!r} in a folder of {name} {value!r}: a copied or renamed run"
            )
    check_files(folder, result)
    log, nowcasts = (_sorted_by_step(folder / name) for name in (LOG, NOWCASTS))
    jumps, losses = (read_table(folder / name) if (folder / name).exists() else None for name in LATER)
    run = RunFiles(result, log, nowcasts, jumps, losses)
    try:
        fault = next(_faults(run, task), None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # an entry of a kind that no run writes
        raise CorruptRunError(f"{folder / RESULT}: {error!r}") from error
    if fault is not None:
        raise CorruptRunError(f"{folder / fault[0]}: {fault[1]}")
    return run


def _faults(run: RunFiles, task: TaskSpec) -> Iterator[tuple[str, str]]:
    """Where the files of a run contradict each other: a file and a sentence each."""
    yield from ((LOG, fault) for fault in log_faults(run.log, run.result, task))
    yield from ((LOG, fault) for fault in result_faults(run.log, run.result, task))
    yield from ((NOWCASTS, fault) for fault in nowcast_faults(run.nowcasts, run.jumps, run.losses, run.result))


def check_files(folder: Path, result: Mapping[str, Any]) -> None:
    """Hold the CSV files of a run to the rows and checksums of its ``run.json``; earlier versions recorded none.

    Args:
        folder: of the run.
        result: the content of its ``run.json``.

    Raises:
        CorruptRunError: for a file that is missing or was changed; names it, and how many rows it had.
    """
    for name, stated in result.get("files", {}).items():
        path = folder / name
        if not path.is_file():
            raise CorruptRunError(f"{path}: No such file, though {RESULT} has its checksum")
        if sha256(path) != stated["sha256"]:
            rows = max(path.read_bytes().count(b"\n") - 1, 0)
            raise CorruptRunError(
                f"{path}: changed since the run ended: {rows} rows, {RESULT} says {stated['rows']} and another SHA-256"
            )


def _sorted_by_step(path: Path) -> Table:
    table = read_table(path)
    steps, counts = np.unique(table["step"], return_counts=True)
    if (counts > 1).any():
        raise CorruptRunError(f"{path}: step {steps[counts > 1][0]:g} stands there twice")
    order = np.argsort(table["step"], kind="stable")
    return {name: values[order] for name, values in table.items()}
