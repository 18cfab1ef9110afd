"""Runs of the benchmark: a task trained with a method from a seed, from the first step to the files of its result."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nino.ensemble import members_at_once
from nino.evaluate.checkpoint import Checkpoint
from nino.evaluate.job import Job, finished_result, job_inputs
from nino.evaluate.loop import DivergedError, EvaluatedTraining
from nino.evaluate.methods import method_nowcaster, start_training
from nino.evaluate.oracle import Oracle
from nino.evaluate.result import run_result
from nino.evaluate.run_folder import LOG, UNFINISHED, add_later_files, remove_run, write_run
from nino.evaluate.states import state_folders
from nino.evaluate.together import train_together
from nino.leases import Lease, lease, sweep
from nino.measure import PeakMemory, most_bytes
from nino.provenance import provenance
from nino.specs import MethodSpec, ScheduleSpec
from nino.tasks import Task

logger = logging.getLogger(__name__)


def evaluate_run(
    task: Task,
    method: MethodSpec,
    seed: int,
    schedule: ScheduleSpec,
    out_dir: Path,
    nowcaster_path: Path | None = None,
    resume: bool = True,
    checkpoint_seconds: float = 60.0,
) -> dict[str, Any]:
    """Train a task with a method and measure when it meets its target.

    Writes ``log.csv`` (one row per evaluation), ``nowcasts.csv``, ``jumps.csv`` (what nowcasts did to each tensor),
    ``around.csv`` (losses of the steps near nowcasts) and, last, ``run.json`` (the result that is returned) into
    ``out_dir``, each whole or not at all. A run whose loss is not finite any more ends as ``diverged``, and one that
    runs out of memory as ``failed``, with the reason and the rows so far: these are results, not errors. A checkpoint,
    ``unfinished.pt``, is there while the run is under way; a killed run continues from it and ends with the same
    numbers (except seconds) as one that was not killed.

    Args:
        task: see `Job`.
        method: see `Job`.
        seed: see `Job`.
        schedule: see `Job`.
        out_dir: folder of the results, created.
        nowcaster_path: see `Job`.
        resume: whether to continue from a checkpoint of the same job, and to leave a finished run as it is; False
            starts over.
        checkpoint_seconds: least time between two checkpoints.

    Returns:
        The content of ``run.json``.

    Raises:
        ValueError: for a method, file or schedule that cannot be used.
        FileNotFoundError: for a file of weights that is missing.
        InUseError: where another process makes this run.
    """
    job = Job(task, method, seed, schedule, out_dir, nowcaster_path)
    return evaluate_runs([job], resume, checkpoint_seconds, members=1)[0]


def evaluate_runs(
    jobs: Sequence[Job],
    resume: bool = True,
    checkpoint_seconds: float = 60.0,
    members: int | None = None,
    ended: Callable[[Path], None] = lambda folder: None,
) -> list[dict[str, Any]]:
    """Make several runs, some at once (see `nino.ensemble`); each equals that of `evaluate_run` up to rounding.

    Runs that are trained together share the seconds of a step equally. ``members_at_once`` in ``run.json`` says how
    many they were; seconds of runs that differ in it cannot be compared. Memory is that of the whole process.

    Args:
        jobs: runs of one task, method and schedule. Those with ``random`` nowcasts or a learned optimizer, and those
            that accept nowcasts by the loss, run one at a time.
        resume: as `evaluate_run`.
        checkpoint_seconds: as `evaluate_run`.
        members: runs at once; None is 1 on a CPU and 8 on a GPU, see `nino.ensemble.members_at_once`.
        ended: called with the folder of each run as soon as its result is there.

    Returns:
        The content of each ``run.json``.

    Raises:
        ValueError: as `evaluate_run`.
        FileNotFoundError: as `evaluate_run`.
        InUseError: as `evaluate_run`.
    """
    with ExitStack() as leases:
        return _evaluate(jobs, resume, checkpoint_seconds, members, ended, leases)


def _evaluate(
    jobs: Sequence[Job],
    resume: bool,
    checkpoint_seconds: float,
    members: int | None,
    ended: Callable[[Path], None],
    leases: ExitStack,
) -> list[dict[str, Any]]:
    """`evaluate_runs`; the leases of the runs' folders are entered into ``leases``."""
    results: dict[Path, dict[str, Any]] = {}
    runs: list[_Run] = []
    for job in jobs:
        origin = provenance(**job_inputs(job))
        finished = finished_result(job.folder, origin["inputs"]) if resume else None
        if finished is None:
            held = leases.enter_context(lease(job.folder))
            finished = finished_result(job.folder, origin["inputs"]) if resume else None  # nobody writes it any more
        if finished is not None:
            logger.info("%s: already %s, left as it is", job.folder, finished["status"])
            add_later_files(job.folder)
            results[job.folder] = finished
            ended(job.folder)
        else:
            runs.append(_Run(job, origin, resume, checkpoint_seconds, held))
    at_once = members_at_once(runs[0].job.trained, members, len(runs)) if runs and _can_share(runs[0].job.method) else 1
    for first in range(0, len(runs), at_once):
        group = runs[first : first + at_once]
        _attempt(group)
        for run in group:
            results[run.job.folder] = run.finish(len(group))
            ended(run.job.folder)
    return [results[job.folder] for job in jobs]


def _can_share(method: MethodSpec) -> bool:
    """Whether a run of the method that is trained together with others equals the run that is trained alone."""
    # random directions depend on the last bit of the state; a learned optimizer mixes elements; a nowcast that the loss
    # rejects is a base step that the other runs do not take
    return method.nowcaster not in ("random", "l2o") and method.options.get("accept") != "loss"


class _Run:
    """A job under way.

    Args:
        job: the job.
        origin: where its numbers come from, for ``run.json``.
        resume: whether to continue from a checkpoint.
        checkpoint_seconds: least time between two checkpoints.

    Attributes:
        training: None until `start`.
        status: how the run ended.
        reason: why it is not done.
    """

    def __init__(self, job: Job, origin: dict[str, Any], resume: bool, checkpoint_seconds: float, held: Lease) -> None:
        """Delete what an earlier run left in the folder, and prepare everything but the training."""
        self.job, self._origin, self._held = job, origin, held
        remove_run(job.folder)
        sweep(job.folder)
        self._nowcaster = method_nowcaster(job.method, job.seed, job.schedule, job.nowcaster_path)
        checkpoint = job.folder / UNFINISHED
        identity = json.dumps(origin["inputs"], sort_keys=True)
        self._checkpoint = Checkpoint(checkpoint, identity, checkpoint_seconds, held.require)
        if not resume:
            self._checkpoint.remove()
        self.training: EvaluatedTraining | None = None
        self.status = "done"
        self.reason: str | None = None

    def start(self) -> EvaluatedTraining:
        """Build the training, at its checkpoint if there is one."""
        job = self.job
        training = start_training(job.task, job.method, job.seed, job.schedule, self._nowcaster)
        states = state_folders(training, job.method, job.schedule, job.folder)
        self.training = EvaluatedTraining(training, isinstance(self._nowcaster, Oracle), states)
        self._checkpoint.restore(self.training)
        return self.training

    def stepped(self) -> None:
        """After a step: save a checkpoint if it is time to, and log a line every tenth of the way."""
        assert self.training is not None
        target, rows = self.job.task.spec.target, self.training.rows
        steps, done = self.job.task.spec.recipe.steps, self.training.training.steps
        if done * 10 // steps > (done - 1) * 10 // steps:
            latest = f"{target.title} {rows[-1][target.split]:.5g}" if rows else "not measured yet"
            logger.info("%s: step %d of %d, %s", self.job.title, done, steps, latest)
        self._checkpoint.maybe_save(self.training)

    def fail(self, status: str, reason: str) -> None:
        """End with another status than ``done``."""
        self.status, self.reason = status, reason

    def finish(self, members: int) -> dict[str, Any]:
        """Write the files of the result; ``members`` runs were trained at once."""
        job, training = self.job, self.training
        if self.reason is not None:
            logger.warning("%s %s: %s", job.title, self.status, self.reason)
        measured: dict[str, float | None] = {"members_at_once": members, "parameters": job.task.num_parameters()}
        measured["peak_memory_bytes"] = most_bytes(job.task.device)
        measured["share_of_others"] = training.clock.share_of_others() if training else None
        seconds = training.clock.seconds if training else {}
        measured |= {f"{part}_seconds": seconds.get(part, 0.0) for part in ("train", "evaluation", "nowcast")}
        if isinstance(self._nowcaster, Oracle) and training:
            ahead = self._nowcaster.spacing * sum(row["k"] for row in training.nowcasts)
            measured |= {"fork_steps": ahead, "fork_seconds": seconds["free"]}
        tables = training.tables() if training else {}
        self._held.require()
        what = (job.task.spec, job.method, job.seed, job.schedule, self._origin)
        result = run_result(*what, self.status, self.reason, tables.get(LOG, ()), measured)
        result = write_run(job.folder, result, tables)
        if self.status != "failed":  # with more memory it can continue
            self._checkpoint.remove()
        return result


def _attempt(runs: Sequence[_Run]) -> None:
    """Train to the end, or until a run cannot continue, which its status then says."""
    device = runs[0].job.task.device
    try:
        PeakMemory(device).reset()
        _train(runs, [run.start() for run in runs])
    except DivergedError as error:
        runs[0].fail("diverged", str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        for run in runs:
            if run.status == "done":
                run.fail("failed", f"out of memory: {str(error).partition(chr(10))[0] or type(error).__name__}")


def _train(runs: Sequence[_Run], trainings: Sequence[EvaluatedTraining]) -> None:
    """Advance one run, or several at once, to the last step, with a progress bar."""
    more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
    steps, done = runs[0].job.task.spec.recipe.steps, sum(training.training.steps for training in trainings)
    with tqdm(total=steps * len(runs), initial=done, desc=runs[0].job.title + more, unit="step", disable=None) as bar:

        def stepped(i: int) -> None:
            bar.update()
            runs[i].stepped()

        if len(runs) > 1:
            train_together(trainings, lambda i, reason: runs[i].fail("diverged", reason), stepped)
            return
        target = runs[0].job.task.spec.target
        while not trainings[0].finished:
            if trainings[0].advance():
                bar.set_postfix({target.title: f"{trainings[0].rows[-1][target.split]:.5g}"}, refresh=False)
            stepped(0)
        trainings[0].pause()


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether it is Python's error, a GPU's, or the plain RuntimeError of torch's allocator on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
