"""Collecting a shard: train its networks, store their states."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from nino.ensemble import Ensemble, members_at_once
from nino.graphs.core import Parameter
from nino.provenance import git_commit, versions
from nino.specs import TrajectorySpec
from nino.specs.outside import records
from nino.tasks import Task
from nino.training import Training
from nino.trajectories.format import Header, flat_order, shard_seeds
from nino.trajectories.store import ShardWriter, writing_shard

log = logging.getLogger(__name__)


@dataclass
class ShardSummary:
    """The outcome of collecting a shard.

    Args:
        path: the shard.
        seeds: its networks.
        diverged: seeds of those whose training diverged; their states up to there are stored.
        states: stored, of all networks together.
    """

    path: Path
    seeds: list[int]
    diverged: list[int]
    states: int = 0


def collect_shard(
    task: Task,
    spec: TrajectorySpec,
    shard: int,
    path: Path,
    *,
    evaluations: int = 11,
    progress: bool = True,
) -> ShardSummary:
    """Train a shard's networks and store their states, metrics and seeds in ``path``.

    A network whose loss or parameters stop being finite (in float16, whose largest value is 65504) has diverged: its
    earlier states are kept, its training ends and the others continue. ``spec.members_per_job`` networks are trained
    at once. The global random state is left as it was.

    Args:
        task: what to train.
        spec: how many networks, which states.
        shard: which of the spec's shards, from 0.
        path: the file to write; must not exist.
        evaluations: states at which validation and test metrics are measured, evenly spaced from first to last.
        progress: show a bar on a terminal.

    Returns:
        The path, the seeds, the diverged ones among them, and the number of states.

    Raises:
        FileExistsError: if ``path`` exists.
        ValueError: if there is no such shard, or a network would store fewer than two states.
    """
    seeds = shard_seeds(spec, shard)
    header = make_header(task, spec)
    steps = header.stored_steps
    if len(steps) < 2:
        raise ValueError(
            f"`state_every` (={spec.state_every}) must not exceed the {header.num_steps} steps of task {task.spec.id!r}"
        )
    measured = {steps[i] for i in np.linspace(0, len(steps) - 1, min(evaluations, len(steps))).round().astype(int)}
    summary = ShardSummary(path, seeds, [])
    with (
        writing_shard(path, header, seeds) as writer,
        tqdm(total=len(seeds) * len(steps), unit="state", desc=path.stem, disable=None if progress else True) as bar,
    ):
        together = members_at_once(task, spec.members_per_job, len(seeds))
        for first in range(0, len(seeds), together):
            group = Ensemble([Training(task, seed) for seed in seeds[first : first + together]])
            _collect_group(group, writer, first, measured, summary, bar)
    return summary


def _collect_group(
    group: Ensemble, writer: ShardWriter, first: int, measured: set[int], summary: ShardSummary, bar: tqdm
) -> None:
    """Train networks at once and store their states, each until its last step or until it diverges."""
    stored, last = set(writer.steps), writer.steps[-1]
    going = list(range(len(group.members)))  # members that have not diverged
    for step in range(last + 1):
        states, metrics = None, {}
        if step in stored:
            states = group.flat_parameters().to(torch.float16).cpu().numpy()
        if step in measured:
            metrics = {i: {s: group.members[i].evaluate(s) for s in ("validation", "test")} for i in going}
        # The loss whose gradient makes the next update is that of the state just read. The update after the last
        # state is made for its loss alone.
        losses = group.step()
        if states is not None:
            for i, loss in zip(list(going), losses[going].tolist(), strict=True):
                if writer.write(first + i, states[i], metrics.get(i, {}) | {"train_loss": loss}):
                    summary.states += 1
                    bar.update()
                else:
                    seed = group.members[i].seed
                    log.warning("%s: seed %d diverged before step %d", summary.path, seed, step)
                    summary.diverged.append(seed)
                    going.remove(i)
            if not going:
                return


def make_header(task: Task, spec: TrajectorySpec) -> Header:
    """The header of files of this task and spec, collected by this code."""
    model = task.build_model(spec.first_seed)
    shapes: list[tuple[str, tuple[int, ...]]] = [(name, tuple(p.shape)) for name, p in model.named_parameters()]
    parameters: tuple[Parameter, ...] = flat_order(shapes)
    return Header(task.spec, spec, parameters, task.data_checksum, versions(), code_version(), records(task.spec))


def code_version() -> str:
    """The git commit, marked where files differ from it, or the package's version outside a checkout."""
    commit = git_commit()
    if commit is None:
        return f"nino {versions()['nino']}"
    return commit["commit"] + ("+dirty" if commit["dirty"] else "")
