"""A memory-mapped array in pieces, each of which is checked when one of its rows is first read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE_BYTES = 2**20


class Pieces:
    """Checks the rows that a process reads against the digests that were recorded when their file was written.

    Each process checks a piece once, when it first reads one of its rows, at half a millisecond a megabyte. A job thus
    pays only for the part of a large file that it reads, and never trains on damaged rows.

    Args:
        path: the file, for the message.
        array: (n, width), mapped.
        rows: of a piece.
        digests: SHA-256 of each piece, in hexadecimal.
    """

    def __init__(self, path: Path, array: NDArray[Any], rows: int, digests: list[str]) -> None:
        """Nothing is read yet."""
        self._path, self._array, self._rows, self._digests = path, array, rows, digests
        self._checked: set[int] = set()

    def require(self, rows: Iterable[int]) -> None:
        """Check the pieces of these rows that this process has not checked before.

        Raises:
            ValueError: for a piece with other bytes than were written; names the file, the rows and what to do.
        """
        for piece in {row // self._rows for row in rows} - self._checked:
            first = piece * self._rows
            if digest(self._array[first : first + self._rows]) != self._digests[piece]:
                last = min(first + self._rows, len(self._array)) - 1
                raise damaged(self._path, f"rows {first} to {last} are not those that were written")
            self._checked.add(piece)


def damaged(path: Path, reason: str) -> ValueError:
    """The error for a token cache that must not be used."""
    return ValueError(
        f"{path}: damaged token cache ({reason}): delete the folder {path.parent} and run the same command again, "
        "which makes it anew"
    )


def digest(array: NDArray[Any]) -> str:
    """SHA-256 of an array's values, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def measure(array: NDArray[Any]) -> tuple[str, int, list[str]]:
    """SHA-256 of all values, the rows of a piece, and SHA-256 of each piece.

    >>> whole, rows, digests = measure(np.zeros((3, 2**18), np.uint16))
    >>> whole == digest(np.zeros(3 * 2**18, np.uint16)), rows, len(digests)
    (True, 2, 2)
    """
    rows = max(1, PIECE_BYTES // max(array[:1].nbytes, 1))
    whole, digests = hashlib.sha256(), []
    for first in range(0, len(array), rows):
        piece = np.ascontiguousarray(array[first : first + rows])
        whole.update(piece.data)
        digests.append(digest(piece))
    return whole.hexdigest(), rows, digests
