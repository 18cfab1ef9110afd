"""What every fit leaves on disk: a log while it runs, a state from which it goes on, its results at the end.

A fit works in ``<out>/state``. Nothing there takes its name before it is whole, so that a fit that is killed at any
moment goes on from its last state.
"""

from __future__ import annotations

import csv
import json
import math
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nino.files import replacing, require_whole_archive
from nino.leases import sweep

STATE_FORMAT = 1
STATE = "training.pt"
RESULTS = ("best.safetensors", "last.safetensors", "log.csv", "validation.csv")


class FitLog:
    """A CSV file to which rows are appended; each row is flushed as soon as it is added.

    Args:
        path: the file.
        columns: its header.
        until: the last iteration of the state that the fit resumes from: rows up to it are kept, later ones dropped.
            None starts a new file.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], until: int | None) -> None:
        """Open the file without the rows that a killed fit wrote after its last state."""
        rows: list[dict[str, str]] = []
        if until is not None:
            with path.open(newline="", encoding="utf-8") as file:
                # a row cut short by a kill lacks cells; rows up to `until` were complete before the state was saved
                rows = [row for row in csv.DictReader(file) if row["iteration"] and int(row["iteration"]) <= until]
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({name: row[name] for name in columns} for row in rows)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, columns, restval="")

    def add(self, **row: object) -> None:
        """Append a row; cells that are not given stay empty, floats keep all their digits."""
        self._writer.writerow(row)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def cosine_decay(iteration: int, iterations: int, lr: float, min_lr: float = 0.0) -> float:
    r"""The learning rate :math:`\mathrm{min} + (\mathrm{lr} - \mathrm{min}) (1 + \cos(\pi i / I)) / 2`.

    Args:
        iteration: i, from 0.
        iterations: I.
        lr: at the first iteration.
        min_lr: that it decays to.

    >>> [f"{cosine_decay(i, 100, 3e-3, 1e-6):.2e}" for i in (0, 50, 100)]
    ['3.00e-03', '1.50e-03', '1.00e-06']
    """
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * iteration / iterations)) / 2


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a fit, whole or not at all."""
    with replacing(folder / STATE) as temporary:
        torch.save({"format": STATE_FORMAT, **state}, temporary)


def load_state(folder: Path, fingerprint: Mapping[str, str]) -> dict[str, Any] | None:
    """Read the state that an earlier attempt at a fit left.

    Args:
        folder: where it would be.
        fingerprint: what this fit is made from, by `flattened`; the state must be of the same.

    Returns:
        The state; None where there is none.

    Raises:
        ValueError: for a file that cannot be read, or is of another recipe or other data; names what differs.
    """
    path = folder / STATE
    if not path.exists():
        return None
    advice = f"delete {folder} to start anew"
    try:
        require_whole_archive(path)
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
    """Move the results of a finished fit from its working folder to ``out``.

    Each is copied whole or not at all, and the working folder is removed last: after a kill anywhere in between, the
    next attempt does it again. Call it with the lease of ``out``.
    """
    for name in RESULTS:
        sweep(out, name)
        if (source := folder / name).exists():
            with replacing(out / name) as temporary:
                shutil.copyfile(source, temporary)
    shutil.rmtree(folder)


def flattened(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as one, values as JSON, so that a difference can be named.

    >>> flattened({"lr": 0.1, "model": {"hidden": 8}})
    {'lr': '0.1', 'model.hidden': '8'}
    """
    items: dict[str, str] = {}
    for name, each in value.items():
        if isinstance(each, Mapping):
            items |= flattened(each, f"{prefix}{name}.")
        else:
            items[f"{prefix}{name}"] = json.dumps(each, sort_keys=True)
    return items
