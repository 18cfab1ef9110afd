"""A task's shards as one data set: a virtual HDF5 file that maps onto them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from nino.files import replacing
from nino.specs import TrajectorySpec
from nino.trajectories.format import (
    METRICS,
    TrajectoryFileError,
    dumps,
    num_shards,
    set_attributes,
    shard_seeds,
)
from nino.trajectories.reader import TrajectoryReader
from nino.trajectories.store import new_file, seal, write_tables


def join_shards(paths: Sequence[Path], out: Path, *, models: int | None = None, progress: bool = True) -> None:
    """Check every chunk of all shards of a task, or of its first ones, and join them into ``out``.

    ``params`` becomes a virtual dataset that names the shards by their path relative to ``out`` (move or copy them
    together); the small tables are copied. Trajectories are ordered by seed. Equal shards give equal bytes.

    Args:
        paths: the shards, in any order.
        out: the file to write; replaced if it exists.
        models: N, networks of a collection that is still under way: those of its first shards; None takes all.
        progress: show a bar on a terminal.

    Raises:
        TrajectoryFileError: for a shard that is damaged, or was made from another task, recipe, model or data than
            the others, or for seeds that are missing or there twice; names the file.
        ValueError: without shards, and for ``models`` that are no whole number of shards.
    """
    if not paths:
        raise ValueError("`paths` is empty: pass the shards of one task")
    readers = sorted((_open_shard(path) for path in paths), key=lambda reader: int(reader.seeds[0]))
    _check_same(readers)
    spec = readers[0].header.trajectories
    if models is not None:
        if not 0 < models <= spec.models or models % spec.models_per_shard:
            raise ValueError(
                f"`models` (={models}) must be a multiple of the {spec.models_per_shard} networks a shard, "
                f"and at most {spec.models}"
            )
        spec = replace(spec, models=models)
    _check_seeds(readers, spec)
    for reader in readers:
        if faults := reader.verify(progress):
            raise TrajectoryFileError(reader.path, f"{faults[0]} ({len(faults)} such chunks); collect it again")
    _write(readers, out)


def _open_shard(path: Path) -> TrajectoryReader:
    reader = TrajectoryReader(path)
    if reader.attributes["kind"] != "shard":
        raise TrajectoryFileError(path, "a joined file, not a shard: pass the shards that it names")
    return reader


def _check_same(readers: Sequence[TrajectoryReader]) -> None:
    """Refuse a shard whose header differs from the first one's in what `Header.identity` holds."""
    first = readers[0].header.identity()
    for reader in readers[1:]:
        other = reader.header.identity()
        if different := [name for name in first if first[name] != other[name]]:
            name = different[0]
            raise TrajectoryFileError(
                reader.path,
                f"does not belong to {readers[0].path}: `{name}` differs "
                f"({_short(other[name])} instead of {_short(first[name])})",
            )


def _check_seeds(readers: Sequence[TrajectoryReader], spec: TrajectorySpec) -> None:
    """Refuse seeds that occur twice, that do not belong to the data set, or that are missing."""
    owner: dict[int, Path] = {}
    for reader in readers:
        for seed in reader.seeds.tolist():
            if seed in owner:
                raise TrajectoryFileError(reader.path, f"seed {seed} is also in {owner[seed]}: pass each shard once")
            owner[seed] = reader.path
    for shard in range(num_shards(spec)):
        seeds = shard_seeds(spec, shard)
        if missing := [seed for seed in seeds if seed not in owner]:
            raise TrajectoryFileError(
                readers[0].path.parent,
                f"shard {shard} of {num_shards(spec)} is missing (seeds {missing[0]}..{missing[-1]}): "
                f"collect it, then join",
            )
        for seed in seeds:
            del owner[seed]
    if owner:
        seed, path = next(iter(owner.items()))
        raise TrajectoryFileError(path, f"seed {seed} is not among the {spec.models} from {spec.first_seed} on")


def _write(readers: Sequence[TrajectoryReader], out: Path) -> None:
    n, s, p = sum(len(reader) for reader in readers), len(readers[0].steps), readers[0].num_parameters
    names = [Path(os.path.relpath(reader.path, out.parent)).as_posix() for reader in readers]
    header = readers[0].header
    attributes = header.to_attributes() | {
        "kind": "joined",
        "shards": dumps(names),
        # Shards may come from different days and machines: say so rather than quote the first.
        "versions": dumps(_merged([reader.header.versions for reader in readers])),
        "code_version": ", ".join(sorted({reader.header.code_version for reader in readers})),
    }
    with replacing(out) as temporary, new_file(temporary) as file:
        _map_states(file, (n, s, p), {name: len(reader) for name, reader in zip(names, readers, strict=True)})
        write_tables(
            file,
            readers[0].steps.tolist(),
            [seed for reader in readers for seed in reader.seeds.tolist()],
            np.concatenate([reader.valid for reader in readers]),
            {name: np.concatenate([reader.metrics[name] for reader in readers]) for name in METRICS},
        )
        set_attributes(file, attributes)
        seal(file)


def _map_states(file: h5py.File, shape: tuple[int, int, int], shards: Mapping[str, int]) -> None:
    """Create ``params`` as a virtual dataset, without the time, which ``create_virtual_dataset`` would note.

    Args:
        file: to create it in.
        shape: (n, S, P).
        shards: how many of the n networks each file holds, in order.
    """
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_fill_value(np.array(np.nan, np.float16))
    properties.set_obj_track_times(False)
    whole, first = h5py.h5s.create_simple(shape), 0
    for name, count in shards.items():
        part = (count, *shape[1:])
        whole.select_hyperslab((first, 0, 0), part)
        # HDF5 takes "%b" in a name for a pattern
        properties.set_virtual(whole, name.replace("%", "%%").encode(), b"params", h5py.h5s.create_simple(part))
        first += count
    kind = h5py.h5t.py_create(np.dtype(np.float16), logical=True)
    h5py.h5d.create(file.id, b"params", kind, h5py.h5s.create_simple(shape), properties)


def _merged(versions: Sequence[dict[str, str]]) -> dict[str, str]:
    """Each package's version, or all that were used."""
    names = sorted({name for each in versions for name in each})
    return {name: ", ".join(sorted({each[name] for each in versions if name in each})) for name in names}


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
