"""Sampling windows: those of an iteration follow from the seed and the iteration alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nino.graphs import NeuralGraph
from nino.metatrain.training_windows import Windows
from nino.ranks import Ranks
from nino.seeding import derive
from nino.specs import MetatrainSpec
from nino.trajectories import TrajectoryReader

log = logging.getLogger(__name__)

Sources = Mapping[str, tuple[NeuralGraph, TrajectoryReader]]

# Places along a held-out trajectory that validation looks at: its start, its middle, its end.
VALIDATION_STARTS = 3


@dataclass(frozen=True)
class Draw:
    """The random choices of a group of windows.

    Args:
        task: which task.
        trajectory: which of its trajectories.
        start: stored state that the first window begins with.
        stride: stored states from one state of a window to the next.
        signs: (8,) float32 of +1 and -1, for the columns of the LPE.
        rows: (R,) int64, ascending rows of the word embedding that are used; None uses all.
    """

    task: str
    trajectory: int
    start: int
    stride: int
    signs: np.ndarray
    rows: np.ndarray | None


class WindowSampler:
    """Draws windows from the trajectories of several tasks (NiNo paper, section 4).

    A batch consists of ``trajectories_per_batch`` groups of windows. For each group a task is drawn uniformly, then a
    trajectory of it (among the first ``models`` that are neither held out nor diverged), then one of the recipe's
    strides, then a start at which each of the ``windows_per_trajectory`` windows, one stride apart, has at least one
    target, among the first ``start_within`` strides. No batch depends on those before it, so that a fit resumes
    without a state of this class.

    Args:
        sources: graph and trajectories by task; which task is drawn depends on their order.
        spec: the recipe.

    Raises:
        ValueError: where a task's spacing, length or number of trajectories does not fit the recipe, or its graph is
            not of the network that was trained.
    """

    def __init__(self, sources: Sources, spec: MetatrainSpec) -> None:
        """Check that every task fits the recipe, and hold trajectories back."""
        if not sources:
            raise ValueError("`sources` is empty: pass the trajectories of at least one task")
        self.sources = dict(sources)
        self.spec = spec
        self.strides = {task: _strides(reader, spec) for task, (_, reader) in self.sources.items()}
        self.training: dict[str, list[int]] = {}
        self.held_out: dict[str, list[int]] = {}
        self._lpe: dict[str, Tensor] = {}
        for task, (graph, reader) in self.sources.items():
            _check_graph(task, graph, reader)
            self.training[task], self.held_out[task] = self._split(task, reader)

    def _split(self, task: str, reader: TrajectoryReader) -> tuple[list[int], list[int]]:
        """The trajectories to train on, and the last ones, which are held out."""
        count = self.spec.validation_models
        usable = np.flatnonzero(~reader.diverged).tolist()
        if len(usable) < len(reader):
            log.warning("%s: %d diverged trajectories are left out", reader.path, len(reader) - len(usable))
        if len(usable) <= count:
            raise ValueError(
                f"task {task!r}: {len(usable)} of {len(reader)} trajectories did not diverge, too few to hold out "
                f"`validation_models` (={count}) and train on the rest: collect more models"
            )
        longest = max(self.strides[task])
        if self._starts(task, longest) < 1:
            stride = longest * reader.state_every
            need = (self.spec.windows_per_trajectory - 1 + self.spec.context) * stride
            raise ValueError(
                f"task {task!r}: trajectories of {reader.steps[-1]} steps are too short for `windows_per_trajectory` "
                f"(={self.spec.windows_per_trajectory}) of `context` (={self.spec.context}) states and a target every "
                f"`window_stride` (={stride}) steps: {need} steps at least"
            )
        training, held_out = usable[: len(usable) - count], usable[len(usable) - count :]
        models = self.spec.models
        if models is not None and models > len(training):
            raise ValueError(
                f"task {task!r}: `models` (={models}) networks to fit to, but {len(training)} of {len(reader)} did not "
                f"diverge and are not held out (`validation_models` = {count}): collect more, or take fewer"
            )
        return training[:models], held_out

    def _starts(self, task: str, stride: int) -> int:
        """The number of states at which a group of windows may start."""
        reader = self.sources[task][1]
        last_needed = (self.spec.windows_per_trajectory - 1 + self.spec.context) * stride
        possible = len(reader.steps) - last_needed
        within = self.spec.start_within
        return possible if within is None else min(possible, within * stride)

    def draws(self, iteration: int) -> list[Draw]:
        """The random choices of a training batch.

        Args:
            iteration: from 0.

        Returns:
            ``trajectories_per_batch`` draws.
        """
        rng = np.random.default_rng([derive(self.spec.seed, "windows"), iteration])
        tasks = list(self.sources)
        draws = []
        for _ in range(self.spec.trajectories_per_batch):
            task = tasks[rng.integers(len(tasks))]
            trajectory = self.training[task][rng.integers(len(self.training[task]))]
            strides = self.strides[task]
            stride = strides[rng.integers(len(strides))] if len(strides) > 1 else strides[0]
            start = int(rng.integers(self._starts(task, stride)))
            signs = rng.choice(np.array([-1.0, 1.0], np.float32), size=8)
            draws.append(Draw(task, trajectory, start, stride, signs, self._rows(task, rng)))
        return draws

    def batch(self, iteration: int, ranks: Ranks | None = None) -> list[Windows]:
        """The training batch of an iteration.

        Args:
            iteration: from 0.
            ranks: the processes that share the batch; None makes all of it.

        Returns:
            The groups of windows of this process's part, on the CPU.
        """
        draws = self.draws(iteration)
        shares = self.shares(draws)
        chosen = (ranks or Ranks()).mine(range(len(draws)))
        return [replace(self.windows(draws[i]), share=shares[i]) for i in chosen]

    def shares(self, draws: Sequence[Draw]) -> list[float]:
        """The weight of each draw in its batch's loss.

        Each trajectory weighs the same in a batch's loss, but those that share a graph split their joint weight in
        proportion to their unmasked targets. Weights follow from the draws, so no process needs another's windows.

        Args:
            draws: of a batch.

        Returns:
            Numbers that sum to 1.
        """
        targets = [int(self._mask(draw).sum()) for draw in draws]
        keys: list[object] = [draw.task if draw.rows is None else i for i, draw in enumerate(draws)]
        together = [[j for j, other in enumerate(keys) if other == key] for key in keys]
        return [
            targets[i] / sum(targets[j] for j in group) * len(group) / len(draws) for i, group in enumerate(together)
        ]

    def validation(self) -> Iterator[Windows]:
        """Windows of the held-out trajectories, the same each time."""
        return (self.windows(draw) for draw in self.validation_draws())

    def validation_draws(self) -> Iterator[Draw]:
        """The draws of `validation`: every stride, evenly spaced starts, no sign flipped."""
        for number, (task, held_out) in enumerate(self.held_out.items()):
            for trajectory in held_out:
                rng = np.random.default_rng([derive(self.spec.seed, "validation"), number, trajectory])
                rows = self._rows(task, rng)
                for stride in self.strides[task]:
                    starts = np.linspace(0, self._starts(task, stride) - 1, VALIDATION_STARTS).round().astype(int)
                    for start in dict.fromkeys(starts.tolist()):
                        yield Draw(task, trajectory, start, stride, np.ones(8, np.float32), rows)

    def windows(self, draw: Draw) -> Windows:
        """Read the windows of a draw.

        Args:
            draw: which.

        Returns:
            The windows, on the CPU.

        Raises:
            TrajectoryFileError: if the trajectory file is damaged.
        """
        spec, stride = self.spec, draw.stride
        graph, reader = self.sources[draw.task]
        length, count = self._length, self._stored(draw)
        stored = torch.from_numpy(reader.window(draw.trajectory, draw.start, stride, count))
        if draw.rows is not None:
            # Whole states are read and rows picked then: these lie in all chunks of a state, and HDF5 takes 27 times as
            # long to select 1,000 of 50,257 rows (41 ms instead of 1.5).
            graph, indices = graph.sample_words(torch.from_numpy(draw.rows))
            stored = stored[:, indices]
        values = torch.zeros(stored.shape[1], length)
        values[:, :count] = stored.T
        signs = torch.from_numpy(draw.signs)
        return Windows(
            task=draw.task,
            trajectory=draw.trajectory,
            start=draw.start,
            graph=graph,
            values=values,
            mask=self._mask(draw),
            positions=self._positions(draw.task, graph) * signs,
            context=spec.context,
        )

    @property
    def _length(self) -> int:
        """L, the number of states that the windows of a draw cover."""
        return self.spec.windows_per_trajectory - 1 + self.spec.context + self.spec.max_horizon

    def _stored(self, draw: Draw) -> int:
        """How many of these states exist: the others lie past the end of the trajectory."""
        states = len(self.sources[draw.task][1].steps)
        return min(self._length, 1 + (states - 1 - draw.start) // draw.stride)

    def _mask(self, draw: Draw) -> Tensor:
        """(W, H) bool, True where a target exists: target h of window w is state w + c + h of those covered."""
        spec = self.spec
        state = torch.arange(spec.windows_per_trajectory)[:, None] + spec.context + torch.arange(spec.max_horizon)
        return state < self._stored(draw)

    def _rows(self, task: str, rng: np.random.Generator) -> np.ndarray | None:
        """Random rows of the word embedding, sorted; None where it has no more than the recipe's ``words``."""
        words = self.sources[task][0].word_nodes
        if words is None or words.size <= self.spec.words:
            return None
        return np.sort(rng.choice(words.size, self.spec.words, replace=False))

    def _positions(self, task: str, graph: NeuralGraph) -> Tensor:
        """The graph's LPE, computed once a task: its graphs of sampled words have equally many, and so the same LPE."""
        if task not in self._lpe:
            self._lpe[task] = graph.lpe(8)
        return self._lpe[task]


def _strides(reader: TrajectoryReader, spec: MetatrainSpec) -> tuple[int, ...]:
    """Stored states from one state of a window to the next, for each stride of the recipe."""
    strides = []
    for steps in spec.strides:
        stride, rest = divmod(steps, reader.state_every)
        if rest or not stride:
            raise ValueError(
                f"{reader.path}: `window_stride` (={steps}) must be a multiple of the "
                f"{reader.state_every} steps between its stored states"
            )
        strides.append(stride)
    return tuple(strides)


def _check_graph(task: str, graph: NeuralGraph, reader: TrajectoryReader) -> None:
    """The graph must be that of the network whose states are read."""
    if list(graph.parameters) == reader.parameters:
        return
    for mine, stored in zip(graph.parameters, reader.parameters, strict=False):
        if mine != stored:
            raise ValueError(f"task {task!r}: the graph has parameter {mine}, but {reader.path} holds {stored}")
    raise ValueError(
        f"task {task!r}: the graph has {len(graph.parameters)} parameter tensors, "
        f"but {reader.path} holds {len(reader.parameters)}"
    )
