"""Reading trajectories: one shard, or a joined file whose states lie in its shards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nino.graphs.core import Parameter
from nino.specs import TaskSpec
from nino.trajectories.format import Header, TrajectoryFileError
from nino.trajectories.shardfile import Fault, TrajectoryFile


class TrajectoryReader:
    """The trajectories of one task.

    Opening reads headers and small tables only. States are read when asked for; the reader may be pickled or forked
    into workers, each opens its own handle. A joined file's states are read from its shards directly, so that a
    shard that is missing or not the one that was joined is an error here (plain HDF5 would read fill values).

    Args:
        path: a shard or a joined file.

    Raises:
        TrajectoryFileError: for a file (or shard behind it) that is missing, truncated, damaged, unfinished or
            foreign; names the file and the reason.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, and the shards behind a joined one."""
        self.path = Path(path)
        self._main = TrajectoryFile(self.path)
        self._files = [self._main] if self._main.kind == "shard" else self._open_shards()
        self._place = [(file, i) for file in self._files for i in range(len(file.seeds))]

    def _open_shards(self) -> list[TrajectoryFile]:
        main = self._main
        files, first = [], 0
        for name in json.loads(main.attributes["shards"]):
            path = self.path.parent / name
            if not path.is_file():
                raise TrajectoryFileError(self.path, f"its shard {path} is missing: collect it again, or join again")
            file = TrajectoryFile(path)
            last = first + len(file.seeds)
            same = file.header.identity() == main.header.identity()
            if not same or any(
                not np.array_equal(mine, theirs[first:last], equal_nan=True)
                for mine, theirs in zip(_tables(file), _tables(main), strict=True)
            ):
                raise TrajectoryFileError(path, f"not the shard that {self.path.name} was joined from: join again")
            files.append(file)
            first = last
        if first != len(main.seeds):
            raise TrajectoryFileError(self.path, f"its shards hold {first} trajectories, not {len(main.seeds)}")
        return files

    def __len__(self) -> int:
        """Number of trajectories n, diverged ones included."""
        return len(self.seeds)

    @property
    def header(self) -> Header:
        """What the file says about itself."""
        return self._main.header

    @property
    def task(self) -> TaskSpec:
        """The task that was trained."""
        return self.header.task

    @property
    def parameters(self) -> list[Parameter]:
        """Parameter names, shapes and places in flat order."""
        return list(self.header.parameters)

    @property
    def num_parameters(self) -> int:
        """P."""
        return self.header.num_parameters

    @property
    def attributes(self) -> dict[str, str]:
        """All attributes of the file, as stored."""
        return dict(self._main.attributes)

    @property
    def steps(self) -> np.ndarray:
        """(S,) int64: training step of each stored state; 0 is the initial one."""
        return self._main.steps

    @property
    def state_every(self) -> int:
        """Steps between stored states."""
        return self.header.trajectories.state_every

    @property
    def seeds(self) -> np.ndarray:
        """(n,) int64: each trajectory's seed."""
        return self._main.seeds

    @property
    def valid(self) -> np.ndarray:
        """(n,) int64: leading states that a trajectory holds; fewer than S where its network diverged."""
        return self._main.valid

    @property
    def diverged(self) -> np.ndarray:
        """(n,) bool: whose network diverged."""
        return self.valid < len(self.steps)

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """Name -> (n, S) float32, NaN where not measured."""
        return dict(self._main.metrics)

    @property
    def files(self) -> list[Path]:
        """The files that hold the states."""
        return [file.path for file in self._files]

    def states(self, trajectory: int, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some states of a trajectory.

        Args:
            trajectory: 0..n-1.
            indices: states, each in 0..valid-1, in any order.

        Returns:
            (len(indices), P) float16.

        Raises:
            IndexError: for a trajectory or state that there is not.
            TrajectoryFileError: for a damaged or missing chunk.
        """
        file, i = self._locate(trajectory)
        states = [int(index) for index in indices]
        for state in states:
            self._check_state(trajectory, state)
        return file.read(i, states)

    def window(self, trajectory: int, start: int, stride: int, length: int) -> np.ndarray:
        """Equally spaced states of a trajectory.

        Args:
            trajectory: 0..n-1.
            start: first state.
            stride: stored states from one to the next (not steps), at least 1.
            length: how many, at least 1.

        Returns:
            (length, P) float16.

        Raises:
            IndexError: for a trajectory or state that there is not.
            ValueError: for a ``stride`` or ``length`` below 1.
            TrajectoryFileError: for a damaged or missing chunk.
        """
        if stride < 1 or length < 1:
            raise ValueError(f"`stride` (={stride}) and `length` (={length}) must be at least 1")
        file, i = self._locate(trajectory)
        last = start + (length - 1) * stride
        self._check_state(trajectory, start)
        self._check_state(trajectory, last)
        return file.read(i, range(start, last + 1, stride))

    def verify(self, progress: bool = True) -> list[Fault]:
        """Read everything.

        Args:
            progress: show a bar on a terminal.

        Returns:
            All faults, none if every chunk matches its checksum.
        """
        found: list[Fault] = []
        with tqdm(total=len(self), desc=f"verify {self.path.name}", disable=None if progress else True) as bar:
            for file in self._files:
                for i in range(len(file.seeds)):
                    found += file.faults([i])
                    bar.update()
        return found

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for file in self._files:
            file.close()

    def _locate(self, trajectory: int) -> tuple[TrajectoryFile, int]:
        if not 0 <= trajectory < len(self):
            raise IndexError(f"{self.path}: `trajectory` (={trajectory}) must lie in 0..{len(self) - 1}")
        return self._place[trajectory]

    def _check_state(self, trajectory: int, state: int) -> None:
        if not 0 <= state < self.valid[trajectory]:
            why = ", its network diverged" if self.diverged[trajectory] else ""
            raise IndexError(
                f"{self.path}: state {state} of trajectory {trajectory} (seed {self.seeds[trajectory]}): "
                f"{self.valid[trajectory]} states are stored{why}"
            )


def _tables(file: TrajectoryFile) -> list[np.ndarray]:
    """What each trajectory is known by."""
    return [file.seeds, file.valid, *(file.metrics[name] for name in sorted(file.metrics))]
