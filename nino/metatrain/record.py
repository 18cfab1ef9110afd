"""What a meta-training leaves on disk: its log while it runs, its state for going on, its results at the end."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nino.files import replacing

STATE_FORMAT = 1
STATE = "training.pt"
LOG = (
    "iteration",
    "loss",
    "lr",
    "grad_norm",
    "wait_seconds",
    "seconds",
    "windows_per_second",
    "validation_loss",
    "identity_loss",
    "failures",
)
VALIDATION = ("iteration", "task", "loss", "identity_loss")
RESULTS = ("best.safetensors", "last.safetensors", "log.csv", "validation.csv")


class Table:
    """A CSV file that rows are appended to; each row is on disk before the next begins.

    Args:
        path: the file.
        columns: its header.
        until: keep the rows that are there up to this iteration, drop later ones; None starts a new file.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], until: int | None) -> None:
        """Open, without the rows that a killed run wrote after its last state."""
        kept: list[dict[str, str]] = []
        if until is not None:
            with path.open(newline="", encoding="utf-8") as file:
                # a row cut short by a kill lacks cells; rows up to `until` were complete before the state was saved
                kept = [row for row in csv.DictReader(file) if row["iteration"] and int(row["iteration"]) <= until]
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({name: row[name] for name in columns} for row in kept)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, columns, restval="")

    def add(self, **row: object) -> None:
        """Append a row; cells not given stay empty, floats keep all their digits."""
        self._writer.writerow(row)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the training state at once or not at all."""
    with replacing(folder / STATE) as temporary:
        torch.save({"format": STATE_FORMAT, **state}, temporary)


def load_state(folder: Path, fingerprint: Mapping[str, str]) -> dict[str, Any] | None:
    """Read the training state that an earlier run left.

    Args:
        folder: where it would be.
        fingerprint: what this run is made from; the state must be of the same.

    Returns:
        The state, None where there is none.

    Raises:
        ValueError: for a file that cannot be read, or is of another recipe or other trajectories; names what differs.
    """
    path = folder / STATE
    if not path.exists():
        return None
    advice = f"delete {folder} to start anew"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: damaged ({error}); {advice}") from error
    if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
        raise ValueError(f"{path}: not a meta-training state of format {STATE_FORMAT}; {advice}")
    theirs = state["fingerprint"]
    for name in sorted(set(theirs) | set(fingerprint)):
        if theirs.get(name) != fingerprint.get(name):
            raise ValueError(
                f"{path}: belongs to another meta-training: {name} was {theirs.get(name)}, is {fingerprint.get(name)}; "
                f"{advice}"
            )
    return state


def publish(folder: Path, out: Path) -> None:
    """Give the finished results their names in ``out`` and remove the working folder.

    Results are copied, each at once or not at all, and the working folder goes last: killed anywhere in between, the
    next run does it again.
    """
    for name in RESULTS:
        if (source := folder / name).exists():
            with replacing(out / name) as temporary:
                shutil.copyfile(source, temporary)
    shutil.rmtree(folder)


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as one, values as JSON, so that a difference can be named.

    >>> flat({"lr": 0.1, "model": {"hidden": 8}})
    {'lr': '0.1', 'model.hidden': '8'}
    """
    items: dict[str, str] = {}
    for name, each in value.items():
        if isinstance(each, Mapping):
            items |= flat(each, f"{prefix}{name}.")
        else:
            items[f"{prefix}{name}"] = json.dumps(each, sort_keys=True)
    return items
