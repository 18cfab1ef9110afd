"""Converting released trajectories, an array of float16 states and perhaps a file of metrics, to files of our format.

The released trajectories of a task are one raw array (models, states, parameters), without a header: nothing in the
file says what it holds. All that can be checked is its size and that the numbers are finite, and both are checked.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nino.provenance import versions
from nino.specs import TaskSpec, TrajectorySpec
from nino.trajectories.format import METRICS, Header, TrajectoryFileError, flat_order, num_shards, shard_seeds
from nino.trajectories.join import join_shards
from nino.trajectories.reader import TrajectoryReader
from nino.trajectories.store import writing_shard

log = logging.getLogger(__name__)

ITEM = 2  # bytes of a float16
NPY = b"\x93NUMPY"
KIND = "float16 (models, states, parameters)"


@dataclass(frozen=True)
class Source:
    """An array of states, mapped, and its metrics.

    Args:
        path: the file.
        states: (models, states, parameters) float16.
        metrics: name -> (models, states) float32, NaN where not measured; empty where there is no file of metrics.
    """

    path: Path
    states: NDArray[np.float16]
    metrics: Mapping[str, NDArray[np.float32]]


def open_source(path: Path, models: int, parameters: int, metrics: Path | None = None) -> Source:
    """Map a released array of states.

    Args:
        path: a raw array of float16, or one with NumPy's header (``.npy``).
        models: networks that it holds.
        parameters: of a network; the number of states follows from the file's size.
        metrics: an ``.npz`` file of arrays (models, states) with names of ``METRICS``; None where there is none.

    Returns:
        The source.

    Raises:
        TrajectoryFileError: for a file that is missing, or of another size, shape or number format; names the file
            and the reason.
    """
    if not path.is_file():
        raise TrajectoryFileError(path, "no such file")
    states = _map(path, models, parameters)
    if not np.isfinite(states[0, 0]).all() or not states[0, 0].any():
        raise TrajectoryFileError(
            path, f"its first state is not that of a network (NaN, infinity or all zero): is it {KIND}, of this task?"
        )
    return Source(path, states, {} if metrics is None else _read_metrics(metrics, states.shape[:2]))


def _map(path: Path, models: int, parameters: int) -> NDArray[np.float16]:
    with path.open("rb") as file:
        headed = file.read(len(NPY)) == NPY
    if headed:
        array: NDArray[np.float16] = np.load(path, mmap_mode="r")
        if array.dtype != np.float16 or array.ndim != 3:
            raise TrajectoryFileError(path, f"holds {array.dtype} {array.shape}, expected {KIND}")
        if array.shape[::2] != (models, parameters):
            raise TrajectoryFileError(
                path, f"holds {array.shape}, expected {models} models and {parameters} parameters a state"
            )
        return array
    size, state = path.stat().st_size, ITEM * models * parameters
    if not size or size % state:
        raise TrajectoryFileError(
            path,
            f"{size:,} bytes are no whole number of states of {models} models of {parameters} parameters in float16 "
            f"({state:,} bytes each): is it of this task, and are there as many models?",
        )
    return np.memmap(path, np.float16, mode="r", shape=(models, size // state, parameters))


def _read_metrics(path: Path, shape: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(path) as archive:
            tables = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise TrajectoryFileError(path, f"not a readable .npz file of metrics ({error})") from error
    for name, values in tables.items():
        if name not in METRICS:
            raise TrajectoryFileError(path, f"holds {name!r}; metrics are {', '.join(METRICS)}")
        if values.shape != shape or values.dtype.kind != "f":
            raise TrajectoryFileError(
                path, f"{name} is {values.dtype} {values.shape}, expected floats {shape}, as many as there are states"
            )
    return {name: values.astype(np.float32) for name, values in tables.items()}


def convert_states(
    source: Source,
    task: TaskSpec,
    spec: TrajectorySpec,
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    out: Path,
    *,
    progress: bool = True,
) -> None:
    """Write a released array as shards and the file that joins them.

    States are taken to be those of steps 0, ``state_every``, ..., their parameters to be in ``named_parameters``
    order. They are copied to the bit. A trajectory ends before its first state with NaN or infinity, or all of zeros,
    as that of a diverged network does. What was trained on is not known: the files say so in place of a checksum.
    A shard that is there already is left as it is, so a killed conversion goes on with the next one.

    Args:
        source: the array.
        task: what its networks were trained on.
        spec: networks, shards and the steps between states; ``steps`` follows from the array.
        shapes: names and shapes of the network's parameters.
        out: the joined file; shards lie in a folder of its name beside it.
        progress: show a bar on a terminal.

    Raises:
        TrajectoryFileError: for a shard that is there and of something else.
        ValueError: where ``spec`` says another number of models, or of steps, than the array holds.
    """
    models, states, _ = source.states.shape
    steps = (states - 1) * spec.state_every
    if spec.models != models:
        raise ValueError(f"`models` (={spec.models}) must be the {models} of {source.path}")
    if spec.steps is not None and spec.steps // spec.state_every + 1 != states:
        raise ValueError(
            f"`steps` (={spec.steps}) with `state_every` (={spec.state_every}) must give the {states} states of "
            f"{source.path}: leave it out, or set it to {steps}"
        )
    origin = f"converted from {source.path.name}"
    header = Header(
        task, replace(spec, steps=steps), flat_order(list(shapes)), f"unknown, {origin}", versions(), origin
    )
    shards = [out.with_suffix("") / f"shard={i}.h5" for i in range(num_shards(spec))]
    with tqdm(total=models, desc=out.stem, unit="network", disable=None if progress else True) as bar:
        for i, path in enumerate(shards):
            if not _is_there(path, header):
                _write(source, header, shard_seeds(spec, i), i * spec.models_per_shard, path)
            bar.update(len(shard_seeds(spec, i)))
    join_shards(shards, out, progress=progress)


def _is_there(path: Path, header: Header) -> bool:
    """Whether a shard of the same conversion is finished."""
    if not path.exists():
        return False
    if TrajectoryReader(path).header.identity() != header.identity():
        raise TrajectoryFileError(path, "of another conversion, or collected here: delete it, or write elsewhere")
    return True


def _write(source: Source, header: Header, seeds: list[int], first: int, path: Path) -> None:
    with writing_shard(path, header, seeds) as writer:
        for trajectory, seed in enumerate(seeds):
            for index, state in enumerate(source.states[first + trajectory]):
                values = {name: float(table[first + trajectory, index]) for name, table in source.metrics.items()}
                measured = {name: value for name, value in values.items() if np.isfinite(value)}
                if not state.any() or not writer.write(trajectory, state, measured):
                    log.warning("%s: model %d ends before state %d", source.path, seed, index)
                    break
