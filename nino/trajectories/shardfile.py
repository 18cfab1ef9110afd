"""One HDF5 file, opened when first read and again in every process that reads it."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from nino.trajectories.format import (
    CRC,
    FORMAT,
    FORMAT_VERSION,
    METRICS,
    Header,
    TrajectoryFileError,
    get_attributes,
)
from nino.trajectories.obstacles import obstacle

# What h5py raises for damage, depending on where in the file it lies.
HDF5_ERRORS = (OSError, RuntimeError, KeyError)


@dataclass(frozen=True)
class Fault:
    """Something in a file that does not read as it was written.

    Args:
        file: where.
        dataset: in which dataset.
        chunk: at which chunk, as offsets along the dataset's axes.
        reason: what HDF5 or this reader found.
    """

    file: Path
    dataset: str
    chunk: tuple[int, ...]
    reason: str

    def __str__(self) -> str:
        """The dataset, the chunk and the reason."""
        return f"{self.dataset}, chunk {self.chunk}: {self.reason}"


class TrajectoryFile:
    """A shard or joined file's handle, header and small tables.

    Args:
        path: the file.

    Raises:
        TrajectoryFileError: for a file that is missing, truncated, damaged, unfinished or not of this format, and for
            one that cannot be opened just now (locked, no permission, no handles); says which.
    """

    def __init__(self, path: Path) -> None:
        """Read the header and the small tables; states are read later."""
        self.path = path
        self._handle: h5py.File | None = None
        self._process = -1
        if not path.is_file():
            raise TrajectoryFileError(path, "no such file; collect it again")
        try:
            self._check_mark()
            self._read_tables()
        except TrajectoryFileError:
            raise
        except (*HDF5_ERRORS, ValueError, TypeError) as error:
            raise self._refusal(error, f"damaged header or table ({_text(error)}); collect it again") from error
        finally:
            self.close()

    def _check_mark(self) -> None:
        """Refuse a file that was not finished by a writer of this format."""
        attributes = self.file.attrs
        stated = attributes.get("format")
        if stated is None or stated != FORMAT.encode():
            raise TrajectoryFileError(self.path, f"an HDF5 file, but not of trajectories (format {stated!r})")
        if (version := json.loads(attributes["format_version"])) != FORMAT_VERSION:
            raise TrajectoryFileError(
                self.path, f"format version {version}, but this code reads {FORMAT_VERSION}: use the code that wrote it"
            )
        if "complete" not in attributes:
            raise TrajectoryFileError(self.path, "not finished by its writer; collect it again")

    def _read_tables(self) -> None:
        self.attributes = get_attributes(self.file)
        self.header = Header.from_attributes(self.attributes)
        self.kind = self.attributes["kind"]
        self.steps: np.ndarray = self.file["step"][:]
        self.seeds: np.ndarray = self.file["seed"][:]
        self.valid: np.ndarray = self.file["valid"][:]
        self.metrics: dict[str, np.ndarray] = {name: self.file[f"metrics/{name}"][:] for name in METRICS}
        self.crc: np.ndarray | None = self.file[CRC][:] if CRC in self.file else None
        self._checked = np.zeros((len(self.seeds), len(self.steps)), bool)
        self.shape = (len(self.seeds), len(self.steps), self.header.num_parameters)
        if self.file["params"].shape != self.shape:
            raise ValueError(f"params has shape {self.file['params'].shape}, the tables say {self.shape}")

    @property
    def file(self) -> h5py.File:
        """The open file of this process: a handle must not cross a fork."""
        if self._handle is None or self._process != os.getpid():
            try:
                self._handle = h5py.File(self.path, "r")
            except OSError as error:
                advice = "delete it and collect it again"
                raise self._refusal(error, f"not a whole HDF5 file ({_text(error)}); {advice}") from error
            self._process = os.getpid()
        return self._handle

    @property
    def params(self) -> h5py.Dataset:
        """The states."""
        try:
            return self.file["params"]
        except HDF5_ERRORS as error:
            raise self._refusal(error, f"params cannot be opened ({_text(error)}); collect it again") from error

    def _refusal(self, error: BaseException, damage: str) -> TrajectoryFileError:
        """The error for a file that cannot be used: what is in its way, else the damage."""
        return TrajectoryFileError(self.path, obstacle(error) or damage)

    def close(self) -> None:
        """Close this process's handle; the next read opens the file again."""
        if self._handle is not None and self._process == os.getpid():
            self._handle.close()
        self._handle = None

    def __getstate__(self) -> dict[str, object]:
        """Everything but the open file."""
        return self.__dict__ | {"_handle": None, "_process": -1}

    def read(self, trajectory: int, states: Sequence[int]) -> np.ndarray:
        """States of one trajectory.

        Args:
            trajectory: which.
            states: of those stored, in any order.

        Returns:
            (len(states), P) float16.

        Raises:
            TrajectoryFileError: for a chunk or state whose checksum does not match, or that is missing. That of a state
                is checked when this process first reads it.
        """
        params = self.params
        values = np.empty((len(states), params.shape[2]), np.float16)
        try:
            # State by state: HDF5 takes ten times as long over one selection with a stride.
            for row, state in enumerate(states):
                params.read_direct(values, np.s_[trajectory, state], np.s_[row])
        except HDF5_ERRORS as error:
            fault = None if obstacle(error) else next(self.faults([trajectory]), None)
            raise self._refusal(error, str(fault or _text(error))) from error
        # A hole reads as the fill value. Its first element gives it away: no stored state holds a NaN.
        if np.isnan(values[:, :: params.chunks[2]]).any():
            fault = next(self.faults([trajectory]), None)
            raise TrajectoryFileError(self.path, str(fault or "a stored state holds NaN"))
        for row, state in enumerate(states):
            if not self._checked[trajectory, state]:
                if not self._is_as_written(trajectory, state, zlib.crc32(values[row])):
                    raise TrajectoryFileError(self.path, f"{_altered(self.path, trajectory, state)}; collect it again")
                self._checked[trajectory, state] = True
        return values

    def _is_as_written(self, trajectory: int, state: int, crc: int) -> bool:
        """Whether a state's CRC-32 is that of its writer; files of earlier versions do not know it."""
        return self.crc is None or crc == int(self.crc[trajectory, state])

    def faults(self, trajectories: list[int]) -> Iterator[Fault]:
        """Read every chunk of a shard's trajectories, yield those that fail a checksum or are missing.

        Raises:
            TrajectoryFileError: where the file cannot be read just now.
        """
        params = self.params
        width = params.chunks[2]
        for i in trajectories:
            for j in range(int(self.valid[i])):
                crc, whole = 0, True
                for start in range(0, params.shape[2], width):
                    try:
                        values = params[i, j, start : start + width]
                    except HDF5_ERRORS as error:
                        if reason := obstacle(error):
                            raise TrajectoryFileError(self.path, reason) from error
                        yield Fault(self.path, "params", (i, j, start), f"does not match its checksum ({_text(error)})")
                        whole = False
                        continue
                    crc = zlib.crc32(values, crc)
                    if np.isnan(values[0]):
                        yield Fault(self.path, "params", (i, j, start), "was never written")
                        whole = False
                if whole and not self._is_as_written(i, j, crc):
                    yield _altered(self.path, i, j)


def _altered(path: Path, trajectory: int, state: int) -> Fault:
    return Fault(path, "params", (trajectory, state, 0), "and those after it do not give the state's CRC-32")


def _text(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
