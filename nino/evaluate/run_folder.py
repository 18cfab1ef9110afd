"""The folder of a run: its files, their columns and formats, how they are written and read, and what damage is.

A run that ended has a ``run.json`` (its result), written last, and one CSV file for each kind of row that it logged.
Nothing here imports torch, so that reports and the workflow can ask.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nino.evaluate.target.score import steps_to_target
from nino.files import replacing, write_json, write_text
from nino.specs import TaskSpec

FORMAT = 1
STATUSES = ("done", "diverged", "failed")

RESULT, LOG, NOWCASTS, JUMPS, LOSSES = "run.json", "log.csv", "nowcasts.csv", "jumps.csv", "around.csv"
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
"""Columns of ``jumps.csv`` that are quantiles over a tensor's elements."""
LOG_COLUMNS = ("step", "train_loss", "validation", "test", "train_seconds", "evaluation_seconds", "nowcast_seconds")
NOWCAST_COLUMNS = ("step", "k", "seconds", "norm", "finite", "accepted", "loss_before", "loss_after")
JUMP_COLUMNS = ("step", "k", "tensor", "kind", "elements", "movement", "change", *QUANTILES, "largest")
LOSS_COLUMNS = ("step", "offset", "loss")
COLUMNS = {LOG: LOG_COLUMNS, NOWCASTS: NOWCAST_COLUMNS, JUMPS: JUMP_COLUMNS, LOSSES: LOSS_COLUMNS}
"""Columns of each CSV file."""
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
Table = dict[str, NDArray[Any]]


class CorruptRunError(ValueError):
    """A run's files are there but cannot be what the evaluation wrote."""


def write_run(folder: Path, result: Mapping[str, Any], rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write all files of a run that ended, ``run.json`` last.

    Args:
        folder: of the run, created.
        result: the content of ``run.json``.
        rows: by CSV file, those that have any.
    """
    for name, columns in COLUMNS.items():
        write_table(folder / name, rows.get(name, ()), columns)
    write_json(folder / RESULT, result)


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
    if result["format"] != FORMAT:
        raise CorruptRunError(f"{path}: format {result['format']!r}, this version reads format {FORMAT}")
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
    """Read a run and check its files against each other and against the folder's place.

    Args:
        folder: of the run.
        task: that the folder is of.
        method: that the folder is of.
        seed: that the folder is of.

    Raises:
        CorruptRunError: for a file that is damaged or incomplete, the files of another run, and a log that does not
            give the step at target and the final metric of ``run.json``; names the file.
    """
    result = read_result(folder)
    for name, value in {"task": task.id, "method": method, "seed": seed}.items():
        if result[name] != value:
            raise CorruptRunError(
                f"{folder / RESULT}: {name} {result[name]!r} in a folder of {name} {value!r}: a copied or renamed run"
            )
    log, nowcasts = (_sorted_by_step(folder / name) for name in (LOG, NOWCASTS))
    _check_log(folder / LOG, log, result, task)
    jumps, losses = (read_table(folder / name) if (folder / name).exists() else None for name in LATER)
    return RunFiles(result, log, nowcasts, jumps, losses)


def _sorted_by_step(path: Path) -> Table:
    table = read_table(path)
    steps, counts = np.unique(table["step"], return_counts=True)
    if (counts > 1).any():
        raise CorruptRunError(f"{path}: step {steps[counts > 1][0]:g} stands there twice")
    order = np.argsort(table["step"], kind="stable")
    return {name: values[order] for name, values in table.items()}


def _check_log(path: Path, log: Table, result: Mapping[str, Any], task: TaskSpec) -> None:
    """Check the steps of a log, and that ``run.json`` says what the log does."""
    steps, values, last = log["step"], log[task.target.split], result["steps"]
    if not (steps == np.round(steps)).all() or (steps < 0).any():
        raise CorruptRunError(f"{path}: a step that is no whole number")
    if (steps > last).any():
        raise CorruptRunError(f"{path}: step {steps.max():g} of a run of {last} steps")
    if result["status"] == "done":
        if not len(steps):
            raise CorruptRunError(f"{path}: no evaluation, though the run is done")
        if np.isnan(log["test"]).any():
            raise CorruptRunError(f"{path}: no test metric at step {steps[np.isnan(log['test'])][0]:g}")
    hit = steps_to_target(log, task.target)
    if hit != result["step_at_target"]:
        raise CorruptRunError(
            f"{path}: target {task.target.value:g} met at step {hit}, {RESULT} says {result['step_at_target']}"
        )
    if result["status"] == "done" and not np.isclose(values[-1], result["final"], rtol=1e-6):
        raise CorruptRunError(
            f"{path}: ends with {values[-1]:g}, {RESULT}'s final metric is {result['final']:g}: rows are missing"
        )
