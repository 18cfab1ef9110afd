"""Reading trajectories: one shard, or a joined file whose states lie in its shards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nino.trajectories.format import TrajectoryFileError
from nino.trajectories.shardfile import Fault, TrajectoryFile


class TrajectoryReader:
    """The trajectories of one task.

    Opening reads headers and small tables only, and states are read on request. The reader may be pickled or forked
    into workers; each opens a handle of its own. The states of a joined file are read from its shards directly, so
    that a shard that is missing, or not the one that was joined, is an error (plain HDF5 would read fill values).

    Args:
        path: a shard or a joined file.

    Attributes:
        files: the files that hold the states.
        header: what the file says about itself; ``attributes`` as stored, a string each.
        task: the task that was trained.
        parameters: names, shapes and places of the parameter tensors in flat order.
        num_parameters: P.
        state_every: steps between stored states.
        steps: (S,) int64, training step of each stored state; 0 is the initial one.
        seeds: (n,) int64, seed of each trajectory.
        valid: (n,) int64, leading states that a trajectory holds; fewer than S where its network diverged.
        diverged: (n,) bool, whose network diverged.
        metrics: name -> (n, S) float32, NaN where not measured.

    Raises:
        TrajectoryFileError: for a file (or shard behind it) that is missing, truncated, damaged, unfinished or
            foreign; names the file and the reason.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, and the shards behind a joined one."""
        self.path = Path(path)
        self._main = main = TrajectoryFile(self.path)
        self._files = [main] if main.kind == "shard" else self._open_shards()
        self._place = [(file, i) for file in self._files for i in range(len(file.seeds))]
        self.files = [file.path for file in self._files]
        self.header = main.header
        self.task = main.header.task
        self.parameters = list(main.header.parameters)
        self.num_parameters = main.header.num_parameters
        self.state_every = main.header.trajectories.state_every
        self.attributes = main.attributes
        self.steps, self.seeds, self.valid, self.metrics = main.steps, main.seeds, main.valid, main.metrics
        self.diverged: np.ndarray = self.valid < len(self.steps)

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

    def states(self, trajectory: int, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some states of a trajectory.

        Args:
            trajectory: 0..n-1.
            indices: states, each in 0..valid-1, in any order.

        Returns:
            (len(indices), P) float16.

        Raises:
            IndexError: for a trajectory or state that does not exist.
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
            IndexError: for a trajectory or state that does not exist.
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
        faults: list[Fault] = []
        with tqdm(total=len(self), desc=f"verify {self.path.name}", disable=None if progress else True) as bar:
            for file in self._files:
                for i in range(len(file.seeds)):
                    faults += file.faults([i])
                    bar.update()
        return faults

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
    """The tables by which a shard is compared with the file that joins it."""
    return [file.seeds, file.valid, *(file.metrics[name] for name in sorted(file.metrics))]
