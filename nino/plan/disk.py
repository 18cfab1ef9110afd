"""The disk space of a run, from exact sizes: nothing is timed, and only existing results are read."""

from __future__ import annotations

import errno
import logging
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nino.config.experiment import Experiment
from nino.config.layout import Layout
from nino.evaluate.run_folder import RESULT
from nino.files import existing_folder
from nino.l2o import L2ONet
from nino.specs import MetatrainSpec, TaskSpec, TrajectorySpec
from nino.specs.local_files import SPLITS
from nino.specs.method_schedule import method_schedule
from nino.tasks import default_data_dir
from nino.tasks.hub import HUB_TEXT
from nino.tasks.sizes import DataSizes, UnknownSizesError, data_sizes, hub_bytes, tensor_sizes
from nino.trajectories.format import chunk_size, num_shards, shard_seeds

logger = logging.getLogger(__name__)

# Of a chunk: its checksum, its entry in HDF5's index, and what pages of the index leave empty.
CHUNK_BYTES = 48
# Of a file: header, attributes and the first pages of its indices.
FILE_BYTES = 128 * 1024
# Of a parameter tensor, in a file's attributes: its name and shape.
TENSOR_BYTES = 256
# A row of a log, in text.
ROW_BYTES = 200
RUN_BYTES = 16 * 1024  # run.json
REPORT_BYTES = 8 * 1024 * 1024  # tables and figures of a task
FLOAT = 4
L2O_FLOATS = 8  # of a parameter in a training of a learned optimizer, at most: itself and its accumulators


@dataclass(frozen=True)
class Need:
    """The disk space of one part of a run, at most.

    Args:
        stage: ``data``, ``trajectories``, ``metatrain``, ``evaluate`` or ``report``.
        name: task or nowcaster.
        path: where.
        size: of all its files when they are done [bytes].
        missing: of those that do not exist yet [bytes].
        scratch: further space of one of its jobs while it runs [bytes].
    """

    stage: str
    name: str
    path: Path
    size: int
    missing: int
    scratch: int = 0


def shard_bytes(spec: TrajectorySpec, shard: int, states: int, parameters: int, tensors: int) -> int:
    """Size of a shard of trajectories, at most: float16 states, their chunks' checksums and index, small tables.

    Args:
        spec: networks and shards.
        shard: which one.
        states: stored of each network.
        parameters: P of a network.
        tensors: parameter tensors of a network.
    """
    models = len(shard_seeds(spec, shard))
    width = chunk_size(parameters)
    chunks = models * states * -(-parameters // width)
    tables = states * 8 + models * 16 + 3 * models * states * FLOAT
    return chunks * (2 * width + CHUNK_BYTES) + tables + FILE_BYTES + TENSOR_BYTES * tensors


def stored_states(task: TaskSpec, spec: TrajectorySpec) -> int:
    """States stored of each network: the initial one, then every ``state_every`` steps.

    >>> from nino.specs import *
    >>> recipe = RecipeSpec("adam", 1e-3, steps=10_000, batch_size=128)
    >>> task = TaskSpec("t", DataSpec("digits"), ModelSpec("convnet"), recipe, TargetSpec("accuracy", 90), None)
    >>> stored_states(task, TrajectorySpec(models=300, models_per_shard=25, state_every=4))
    2501
    """
    steps = task.recipe.steps if spec.steps is None else spec.steps
    return steps // spec.state_every + 1


def fit_bytes(spec: MetatrainSpec, parameters: int) -> tuple[int, int]:
    """Size of a fitted nowcaster's files, and of the state that it is fitted from while it runs.

    Args:
        spec: the recipe.
        parameters: of the nowcaster.
    """
    nets = 2 * FLOAT * parameters + FILE_BYTES
    logs = ROW_BYTES * spec.iterations * 2
    # weights and two moments, the same of the last good iteration; a new state is written beside the old one
    return nets + logs, nets + logs + 2 * 6 * FLOAT * parameters


def run_bytes(task: TaskSpec, parameters: int, context: int) -> tuple[int, int]:
    """Size of an evaluated run's files, and of its checkpoint while it runs.

    Args:
        task: what is trained.
        parameters: P.
        context: states that a nowcaster reads.
    """
    rows = task.recipe.steps // task.evaluation.test_every + 2
    checkpoint = (3 + context) * FLOAT * parameters + 2 * ROW_BYTES * rows
    folder = FLOAT * parameters + FILE_BYTES if task.evaluation.checkpoint_every else 0
    # one folder more than a nowcast reads stays, another one is written beside them
    return rows * ROW_BYTES + RUN_BYTES + (context + 1) * folder, 2 * checkpoint + folder


def token_bytes(sizes: DataSizes) -> int:
    """Size of a token cache."""
    return sizes.shape[0] * sum(sizes.examples.values()) * (2 if sizes.outputs <= 2**16 else 4) + FILE_BYTES


def needs(
    run: Experiment, sizes: Mapping[str, DataSizes], tensors: Mapping[str, list[int]], nowcasters: Mapping[str, int]
) -> list[Need]:
    """What every part of a run writes, at most.

    Args:
        run: the run.
        sizes: sizes of the data of those tasks where they are known; the others are left out.
        tensors: sizes of the parameter tensors of these tasks' networks.
        nowcasters: number of parameters of those fitted.

    Returns:
        A need a stage and task or nowcaster.
    """
    parts = [*_data(run, sizes), *_trajectories(run, tensors), *_fits(run, nowcasters), *_learned(run, tensors)]
    parts += _runs(run, tensors)
    report = REPORT_BYTES * len(run.evaluated)
    done = Path(Layout(run.run).manifest).is_file()
    return [*parts, Need("report", run.run, Path(Layout(run.run).tables), report, 0 if done else report)]


def _data(run: Experiment, sizes: Mapping[str, DataSizes]) -> Iterator[Need]:
    """The hub's text, tokens and decoded images, once per data set; a cache exists where a task's record does."""
    folder = run.data_dir or default_data_dir()
    hub = {run.tasks[task].data.name for task in sizes if run.tasks[task].data.source == "hub"}
    if hub:
        from huggingface_hub.constants import HF_HUB_CACHE
    for name in sorted(hub & set(HUB_TEXT)):
        fetched = all((folder / name / f"{split}.parquet").is_file() for split in SPLITS)
        for path, size in ((Path(HF_HUB_CACHE), hub_bytes(name)[0]), (folder / name, hub_bytes(name)[1])):
            yield Need("data", name, path, size, 0 if fetched else size)
    seen = []
    for task, of_task in sizes.items():
        data = run.tasks[task].data
        decodes = of_task.kind == "vision" and data.source in ("folder", "parquet", "hub")
        if not (decodes or of_task.kind == "language") or data.source == "embedded" or data in seen:
            continue
        seen.append(data)
        size = of_task.held_bytes + FILE_BYTES if decodes else token_bytes(of_task)
        path = folder / ("decoded" if decodes else "tokens")
        yield Need("data", task, path, size, 0 if Path(Layout(run.run).data(task)).is_file() else size)


def _trajectories(run: Experiment, tensors: Mapping[str, list[int]]) -> Iterator[Need]:
    paths = Layout(run.run)
    for task in run.collected:
        if task not in tensors:
            continue
        spec, states = run.trajectories[task], stored_states(run.tasks[task], run.trajectories[task])
        sizes = {
            Path(paths.shard(task, i)): shard_bytes(spec, i, states, sum(tensors[task]), len(tensors[task]))
            for i in range(num_shards(spec))
        }
        joined = states * 8 + spec.models * (16 + 3 * FLOAT * states) + FILE_BYTES
        missing = sum(size for path, size in sizes.items() if not path.is_file())
        missing += 0 if Path(paths.dataset(task)).is_file() else joined
        yield Need("trajectories", task, Path(paths.dataset(task)), sum(sizes.values()) + joined, missing)


def _fits(run: Experiment, nowcasters: Mapping[str, int]) -> Iterator[Need]:
    for name in run.fitted:
        if name in nowcasters:
            size, scratch = fit_bytes(run.nowcasters[name].metatrain, nowcasters[name])
            yield _fit(name, Path(Layout(run.run).checkpoint(name)), size, scratch)


def _learned(run: Experiment, tensors: Mapping[str, list[int]]) -> Iterator[Need]:
    """Learned optimizers; while one is fitted, its state includes the trainings that it learns from."""
    for name in run.learned:
        entry = run.optimizers[name]
        if entry.task.id in tensors:
            parameters = sum(p.numel() for p in L2ONet(entry.l2o.hidden, 0).parameters())
            size = 2 * FLOAT * parameters + FILE_BYTES + ROW_BYTES * entry.l2o.iterations
            state = FLOAT * (3 * parameters + L2O_FLOATS * entry.l2o.trainings * sum(tensors[entry.task.id]))
            yield _fit(name, Path(Layout(run.run).l2o_checkpoint(name)), size, size + 2 * state)


def _fit(name: str, checkpoint: Path, size: int, scratch: int) -> Need:
    """The space of a fit, none of which is missing once its checkpoint exists."""
    if checkpoint.is_file():
        return Need("metatrain", name, checkpoint.parent, size, 0)
    return Need("metatrain", name, checkpoint.parent, size, size, scratch)


def _runs(run: Experiment, tensors: Mapping[str, list[int]]) -> Iterator[Need]:
    paths = Layout(run.run)
    for task in run.evaluated:
        if task not in tensors:
            continue
        total = missing = scratch = 0
        for each in (each for each in run.evaluations if each[0] == task):
            context = method_schedule(run.methods[each[1]], run.schedule).context
            size, beside = run_bytes(run.tasks[task], sum(tensors[task]), context)
            total += size
            if not (Path(paths.evaluation(*each)) / RESULT).is_file():
                missing, scratch = missing + size, max(scratch, beside)
        yield Need("evaluate", task, Path(paths.under("evaluate", task)), total, missing, scratch)


def shortage(parts: Iterable[Need]) -> str | None:
    """Whether a disk is too small.

    Args:
        parts: what is going to be written.

    Returns:
        A sentence with the path, the space needed and the space free; None where every disk suffices.
    """
    disks: dict[int, list[Need]] = defaultdict(list)
    for need in parts:
        disks[existing_folder(need.path).stat().st_dev].append(need)
    for needs_of_disk in disks.values():
        size = sum(need.missing for need in needs_of_disk) + max(need.scratch for need in needs_of_disk)
        largest = max(needs_of_disk, key=lambda need: need.missing)
        folder = existing_folder(largest.path)
        free = shutil.disk_usage(folder).free
        if size > free:
            return (
                f"{folder}: {size:,} bytes are needed at most, {free:,} are free ({largest.stage} of {largest.name} "
                f"alone: {largest.missing:,}); make room, collect fewer models or states, or work on another disk"
            )
    return None


def require_room(run: Experiment, shards: Iterable[str]) -> None:
    """Refuse to collect trajectories that the disk cannot hold; nothing else of a run is large.

    Nothing is timed, so this takes no longer than building the networks does.

    Args:
        run: the run.
        shards: the files that are going to be written.

    Raises:
        OSError: where less is free; names the folder, what is needed and what is free.
    """
    requested = set(shards)
    parts = []
    for task in run.collected:
        spec, path = run.trajectories[task], Layout(run.run)
        numbers = [i for i in range(num_shards(spec)) if path.shard(task, i) in requested]
        if not numbers:
            continue
        try:
            sizes = data_sizes(run.tasks[task], run.data_dir or default_data_dir(), Path(path.data(task)))
        except UnknownSizesError as error:
            logger.warning("%s: the disk it needs is not known before its data is there (%s)", task, error)
            continue
        tensors = tensor_sizes(run.tasks[task], sizes)
        states = stored_states(run.tasks[task], spec)
        size = sum(shard_bytes(spec, i, states, sum(tensors), len(tensors)) for i in numbers)
        parts.append(Need("trajectories", task, Path(path.dataset(task)), size, size))
    if parts and (problem := shortage(parts)):
        raise OSError(errno.ENOSPC, f"the disk is too small for this run: {problem}")
