"""Writing a shard: states as they come, then metrics and seeds, last of all the mark that the file is whole."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from nino.files import replacing, require_space
from nino.leases import lease, sweep
from nino.trajectories.format import (
    CRC,
    FORMAT,
    FORMAT_VERSION,
    LIBVER,
    METRICS,
    Header,
    TrajectoryFileError,
    chunk_size,
    dumps,
    set_attributes,
)
from nino.trajectories.obstacles import NO_LOCKS, WAYS_OUT

# Any bytes that a reader sees are covered by a checksum; small ones need a chunked layout for that.
CHECKED = {"fletcher32": True}
# A trajectory's states are handed to HDF5 a few megabytes at a time: between training steps, each call of its own finds
# cold caches and costs several times what it does in a row.
BUFFER_BYTES = 4 * 1024 * 1024
EXPONENT = np.uint16(0x7C00)  # its bits in a float16


def new_file(path: Path) -> h5py.File:
    """An empty file to write to.

    Raises:
        TrajectoryFileError: where the file system has no locks, without which HDF5 does not write unless it is told to.
    """
    try:
        return h5py.File(path, "w", libver=LIBVER)
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise TrajectoryFileError(path.parent, WAYS_OUT[error.errno]) from error
        raise


class ShardWriter:
    """Writes the states of n networks; use through ``writing_shard``.

    Args:
        file: an open, empty HDF5 file.
        header: of the file.
        seeds: of the n networks.
    """

    def __init__(self, file: h5py.File, header: Header, seeds: Sequence[int]) -> None:
        """Lay out the datasets."""
        self.file = file
        self.header = header
        self.seeds = list(seeds)
        self.steps = header.stored_steps
        n, s, p = len(self.seeds), len(self.steps), header.num_parameters
        self.valid = np.zeros(n, np.int64)
        self.crc = np.zeros((n, s), np.uint32)
        self.metrics = {name: np.full((n, s), np.nan, np.float32) for name in METRICS}
        self._room = min(s, max(1, BUFFER_BYTES // (2 * p)))  # states
        self._waiting: dict[int, list[np.ndarray]] = {}
        # A state that was never written reads as NaN, which no stored state holds.
        self.params = file.create_dataset(
            "params", (n, s, p), np.float16, chunks=(1, 1, chunk_size(p)), fillvalue=np.nan, **CHECKED
        )

    def write(self, trajectory: int, state: np.ndarray, metrics: Mapping[str, float]) -> bool:
        """Append a state to a trajectory; a few megabytes of each unfinished one wait in memory.

        A state with NaN, infinity or a value beyond float16 (65504), or with a metric that is not finite, is not
        stored: the trajectory ends before it.

        Args:
            trajectory: which network.
            state: (P,) floating point.
            metrics: name -> value, of those in ``METRICS`` that were measured.

        Returns:
            Whether the state was stored; False means that the network has diverged.
        """
        with np.errstate(over="ignore"):
            half = np.asarray(state).astype(np.float16, copy=False)
        if not is_finite(half) or not all(math.isfinite(value) for value in metrics.values()):
            return False
        waiting = self._waiting.setdefault(trajectory, [])
        waiting.append(half.copy())
        index = int(self.valid[trajectory])
        self.crc[trajectory, index] = zlib.crc32(waiting[-1].data)
        for name, value in metrics.items():
            self.metrics[name][trajectory, index] = value
        self.valid[trajectory] += 1
        if len(waiting) == self._room or index + 1 == len(self.steps):
            self._flush(trajectory)
        return True

    def flush(self) -> None:
        """Hand all waiting states to HDF5."""
        for trajectory in list(self._waiting):
            self._flush(trajectory)

    def _flush(self, trajectory: int) -> None:
        """Hand a trajectory's waiting states to HDF5."""
        if waiting := self._waiting.pop(trajectory, []):
            stop = int(self.valid[trajectory])
            self.params[trajectory, stop - len(waiting) : stop] = np.stack(waiting)

    def finish(self) -> None:
        """Write the waiting states, the small tables, and the mark that the file is whole."""
        self.flush()
        write_tables(self.file, self.steps, self.seeds, self.valid, self.metrics)
        write_table(self.file, CRC, self.crc)
        set_attributes(self.file, {"kind": "shard"} | self.header.to_attributes())
        seal(self.file)


def is_finite(half: np.ndarray) -> bool:
    """Whether a float16 array holds neither NaN nor infinity, which have all bits of their exponent set.

    Many times as fast as ``np.isfinite``, whose time is a good part of that of writing the state.

    >>> [is_finite(np.array([1.0, value], np.float16)) for value in (65504, np.nan, -np.inf, 6e-8)]
    [True, False, False, True]
    """
    return not ((half.view(np.uint16) & EXPONENT) == EXPONENT).any()


def write_tables(
    file: h5py.File,
    steps: Sequence[int],
    seeds: Sequence[int],
    valid: np.ndarray,
    metrics: Mapping[str, np.ndarray],
) -> None:
    """Write the datasets that shards and joined files have, but ``params``."""
    tables = {"step": np.asarray(steps, np.int64), "seed": np.asarray(seeds, np.int64), "valid": valid}
    tables |= {f"metrics/{name}": values for name, values in metrics.items()}
    for name, values in tables.items():
        write_table(file, name, values)


def write_table(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Write a dataset in one checksummed chunk."""
    file.create_dataset(name, data=values, chunks=values.shape, **CHECKED)


def seal(file: h5py.File) -> None:
    """Mark a file as whole: everything else is on its way to the disk by now."""
    file.flush()
    set_attributes(file, {"format": FORMAT, "format_version": dumps(FORMAT_VERSION), "complete": "true"})


@contextmanager
def writing_shard(path: Path, header: Header, seeds: Sequence[int]) -> Iterator[ShardWriter]:
    """Write a shard beside ``path``; it takes its name when the block has ended without an error.

    Args:
        path: the shard's file; must not exist.
        header: of the file.
        seeds: of its networks.

    Yields:
        The writer.

    Raises:
        FileExistsError: if ``path`` exists: a finished shard is never written again.
        InUseError: where another process is writing it.
        OSError: where the disk has no room for all states.
    """
    with lease(path) as held:
        if path.exists():
            raise FileExistsError(f"{path} is finished already: delete it to collect it again")
        sweep(path.parent, path.name)
        require_space(path, 2 * len(seeds) * len(header.stored_steps) * header.num_parameters)
        with replacing(path) as temporary:
            with new_file(temporary) as file:
                writer = ShardWriter(file, header, seeds)
                yield writer
                writer.finish()
            held.require()
