"""What a trajectory file holds and how it says so: names, attributes and the error for files that do not fit.

A file holds, for n networks of one task, S stored states of P parameters:

- ``params`` float16 (n, S, P), ``step`` int64 (S,), ``seed`` int64 (n,), ``valid`` int64 (n,), ``metrics/<name>``
  float32 (n, S), NaN where not measured;
- in a shard, ``crc`` uint32 (n, S), the CRC-32 of each stored state: HDF5's own checksum of a block of zeros is zero,
  so that it does not notice a block of the disk that was zeroed (files of earlier versions lack it);
- attributes: those of ``Header``, each a string (JSON where it is structured), and ``complete``, written last.

A *shard* stores ``params`` itself, a *joined* file maps it onto its shards (an HDF5 virtual dataset) and names them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import h5py

from nino.specs import TaskSpec, TrajectorySpec

if TYPE_CHECKING:
    from nino.graphs import Parameter

FORMAT = "nino-trajectories"
FORMAT_VERSION = 1
# HDF5 1.10's file format: unlike the older default it checksums metadata and marks a file that a writer left open.
LIBVER = ("v110", "v110")
# HDF5 reads whole chunks; a state of a small network is one chunk.
MAX_CHUNK_PARAMETERS = 512 * 1024
CRC = "crc"
METRICS = ("train_loss", "validation", "test")


class TrajectoryFileError(ValueError):
    """A file that cannot be used as trajectories: ``path``, and ``reason`` why."""

    def __init__(self, path: Path, reason: str) -> None:
        """Name the file and the reason."""
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Args:
        task: the whole task: data, model, recipe, target.
        trajectories: how many networks, which states.
        parameters: the flat vector's parts, in order.
        data_checksum: SHA-256 of the training data.
        versions: library name -> version at the time of collecting.
        code_version: git commit (``+dirty`` if changed) or the package's version.
        sources: what identifies each thing from outside this package that the task names, by its key; empty if none.
    """

    task: TaskSpec
    trajectories: TrajectorySpec
    parameters: tuple[Parameter, ...]
    data_checksum: str
    versions: dict[str, str]
    code_version: str
    sources: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def num_parameters(self) -> int:
        """P."""
        return sum(parameter.numel for parameter in self.parameters)

    @property
    def num_steps(self) -> int:
        """Steps each network is trained: the spec's, else the recipe's."""
        return self.task.recipe.steps if self.trajectories.steps is None else self.trajectories.steps

    @property
    def stored_steps(self) -> list[int]:
        """Steps of the stored states: 0, the initial one, then every ``state_every``, not past the last step."""
        return list(range(0, self.num_steps + 1, self.trajectories.state_every))

    def identity(self) -> dict[str, Any]:
        """The attributes that shards of one data set must share: all but versions and how many were trained at once."""
        fields = replace(self, trajectories=replace(self.trajectories, members_per_job=None)).to_attributes()
        return {name: value for name, value in fields.items() if name not in ("versions", "code_version")}

    def to_attributes(self) -> dict[str, str]:
        """The header as HDF5 attributes."""
        sources = {"sources": dumps(self.sources)} if self.sources else {}
        return {
            "task": self.task.id,
            "task_spec": dumps(self.task.to_dict()),
            "trajectory_spec": dumps(self.trajectories.to_dict()),
            "parameters": dumps([[p.name, list(p.shape)] for p in self.parameters]),
            "data_checksum": self.data_checksum,
            "versions": dumps(self.versions),
            "code_version": self.code_version,
            **sources,
        }

    @classmethod
    def from_attributes(cls, values: dict[str, str]) -> Self:
        """The header that ``to_attributes`` wrote.

        Raises:
            KeyError: if an attribute is missing.
            ValueError: if one does not have the form that this version writes.
        """
        return cls(
            task=TaskSpec.from_dict(json.loads(values["task_spec"])),
            trajectories=TrajectorySpec.from_dict(json.loads(values["trajectory_spec"])),
            parameters=flat_order([(name, tuple(shape)) for name, shape in json.loads(values["parameters"])]),
            data_checksum=values["data_checksum"],
            versions=json.loads(values["versions"]),
            code_version=values["code_version"],
            sources=json.loads(values.get("sources", "{}")),
        )


def flat_order(shapes: list[tuple[str, tuple[int, ...]]]) -> tuple[Parameter, ...]:
    """Parameters in the flat vector, one after the other.

    >>> [p.offset for p in flat_order([("w", (3, 2)), ("b", (3,)), ("scale", ())])]
    [0, 6, 9]
    """
    from nino.graphs import Parameter  # imports torch

    parameters, offset = [], 0
    for name, shape in shapes:
        parameters.append(Parameter(name, offset, shape))
        offset += parameters[-1].numel
    return tuple(parameters)


def chunk_size(num_parameters: int) -> int:
    """Parameters in a chunk: those of a state, or an equal part of them that stays below a megabyte.

    >>> chunk_size(14_378), chunk_size(1_252_464)
    (14378, 417488)
    """
    parts = -(-num_parameters // MAX_CHUNK_PARAMETERS)
    return -(-num_parameters // max(parts, 1))


def num_shards(spec: TrajectorySpec) -> int:
    """Shards of a task.

    >>> num_shards(TrajectorySpec(models=10, models_per_shard=4, state_every=2))
    3
    """
    return -(-spec.models // spec.models_per_shard)


def shard_seeds(spec: TrajectorySpec, shard: int) -> list[int]:
    """Seeds of the networks that a shard holds.

    >>> shard_seeds(TrajectorySpec(models=10, models_per_shard=4, state_every=2, first_seed=100), 2)
    [108, 109]

    Raises:
        ValueError: if there is no such shard.
    """
    if not 0 <= shard < num_shards(spec):
        raise ValueError(
            f"`shard` (={shard}) must lie in 0..{num_shards(spec) - 1}: "
            f"{spec.models} models, {spec.models_per_shard} a shard"
        )
    first = shard * spec.models_per_shard
    last = min(first + spec.models_per_shard, spec.models)
    return [spec.first_seed + i for i in range(first, last)]


def dumps(value: Any) -> str:
    """JSON with sorted keys, so that equal values are equal strings."""
    return json.dumps(value, sort_keys=True)


def set_attributes(file: h5py.File, values: dict[str, str]) -> None:
    """Write string attributes with a fixed length: variable-length strings would lie where nothing checksums them."""
    for name, value in values.items():
        data = value.encode()
        file.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(len(data), 1)))


def get_attributes(file: h5py.File) -> dict[str, str]:
    """All string attributes of a file."""
    return {name: value.decode() for name, value in file.attrs.items() if isinstance(value, bytes)}
