"""One job of the benchmark: a task, a method and a seed, from the first step to the files of its result."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nino.ensemble import members_at_once
from nino.evaluate.checkpoint import Checkpoint
from nino.evaluate.identity import finished_result, job_inputs
from nino.evaluate.loop import DivergedError, EvaluatedTraining
from nino.evaluate.methods import build_nowcaster, start_training
from nino.evaluate.oracle import Oracle
from nino.evaluate.records import RECORDS, complete_records, write_records
from nino.evaluate.states import state_folders
from nino.evaluate.summary import summary
from nino.evaluate.tables import LOG_COLUMNS, NOWCAST_COLUMNS, write_table
from nino.evaluate.together import train_together
from nino.files import write_json
from nino.l2o import L2ONet
from nino.nowcasters.base import Nowcaster
from nino.provenance import provenance
from nino.specs import MethodSpec, ScheduleSpec
from nino.tasks import Task

logger = logging.getLogger(__name__)

UNFINISHED = "unfinished.pt"


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

    Writes ``log.csv`` (a row per evaluation), ``nowcasts.csv``, ``jumps.csv`` (what nowcasts did to each tensor),
    ``around.csv`` (losses of the steps around them) and, last, ``run.json`` (the summary that is returned) into
    ``out_dir``, each whole or not at all. A run whose loss stops being finite ends as ``diverged``, one that runs out
    of memory as ``failed``, with the reason and the rows so far: results, not errors. While it runs, ``unfinished.pt``
    holds a checkpoint; a killed run goes on from there and ends with the same numbers (seconds excepted) as one that
    was not.

    Args:
        task: what is trained, on the device it is trained on.
        method: the row of the table.
        seed: of initialisation, batch order and the method's own draws; the same for every method of a comparison.
        schedule: when nowcasts happen and how far they reach.
        out_dir: folder of the results, created.
        nowcaster_path: file of the weights, for methods that read one.
        resume: go on from a checkpoint of the same job, and leave a finished one as it is; False starts over.
        checkpoint_seconds: least time between two checkpoints.

    Returns:
        The content of ``run.json``.

    Raises:
        ValueError: for a method, file or schedule that cannot be used.
        FileNotFoundError: for a file of weights that is missing.
    """
    jobs = (task, method, [seed], schedule, [out_dir], nowcaster_path, resume, checkpoint_seconds)
    return evaluate_runs(*jobs, members=1)[0]


def evaluate_runs(
    task: Task,
    method: MethodSpec,
    seeds: Sequence[int],
    schedule: ScheduleSpec,
    out_dirs: Sequence[Path],
    nowcaster_path: Path | None = None,
    resume: bool = True,
    checkpoint_seconds: float = 60.0,
    members: int | None = None,
    ended: Callable[[Path], None] | None = None,
) -> list[dict[str, Any]]:
    """`evaluate_run` of several seeds, some at once (``nino.ensemble``): the same numbers up to rounding.

    Seconds of a step that runs took together are shared equally between them; ``members_at_once`` in ``run.json`` says
    how many they were, and seconds of different such numbers do not compare. Memory is the process's in each of them.

    Args:
        task: as `evaluate_run`.
        method: as `evaluate_run`; ``random``, and one that accepts nowcasts by the loss, run one seed at a time.
        seeds: of the runs.
        schedule: as `evaluate_run`.
        out_dirs: a folder a seed.
        nowcaster_path: as `evaluate_run`.
        resume: as `evaluate_run`.
        checkpoint_seconds: as `evaluate_run`.
        members: runs at once; None takes 1 on a CPU and 8 on a GPU, see `nino.ensemble.members_at_once`.
        ended: told the folder of each run as soon as its result is there.

    Returns:
        The content of each ``run.json``.

    Raises:
        ValueError: as `evaluate_run`.
        FileNotFoundError: as `evaluate_run`.
    """
    results: dict[int, dict[str, Any]] = {}
    jobs: list[_Job] = []
    for seed, out_dir in zip(seeds, out_dirs, strict=True):
        origin = provenance(**job_inputs(task, method, seed, schedule, nowcaster_path))
        if resume and (finished := finished_result(out_dir, origin["inputs"])):
            logger.info("%s: already %s, left as it is", out_dir, finished["status"])
            complete_records(out_dir)
            results[seed] = finished
            if ended is not None:
                ended(out_dir)
        else:
            jobs.append(_start(task, method, seed, schedule, out_dir, nowcaster_path, origin, checkpoint_seconds))
            if not resume:
                jobs[-1].checkpoint.remove()
    at_once = 1 if _needs_to_be_alone(method) else members_at_once(task, members, len(jobs))
    for first in range(0, len(jobs), at_once):
        group = jobs[first : first + at_once]
        _attempt(task, method, schedule, group)
        for job in group:
            results[job.seed] = _finish(task, method, schedule, job, len(group))
            if ended is not None:
                ended(job.out_dir)
    return [results[seed] for seed in seeds]


def _needs_to_be_alone(method: MethodSpec) -> bool:
    """Whether a run beside others would not be that of its seed alone."""
    # random directions follow from the last bit of the state; a learned optimizer does not treat elements alone; a
    # nowcast that the loss refuses is a base step that the other runs do not take
    return method.nowcaster in ("random", "l2o") or method.options.get("accept") == "loss"


@dataclass
class _Job:
    """A run, from its first step to its result."""

    seed: int
    out_dir: Path
    origin: dict[str, Any]
    nowcaster: Nowcaster | L2ONet | None
    checkpoint: Checkpoint
    title: str
    run: EvaluatedTraining | None = None
    status: str = "done"
    reason: str | None = None

    def fail(self, status: str, reason: str) -> None:
        """End with another status than done."""
        self.status, self.reason = status, reason


def _start(
    task: Task,
    method: MethodSpec,
    seed: int,
    schedule: ScheduleSpec,
    out_dir: Path,
    nowcaster_path: Path | None,
    origin: dict[str, Any],
    checkpoint_seconds: float,
) -> _Job:
    """Clear away what an earlier run left and make everything but the run."""
    for stale in ("run.json", "log.csv", "nowcasts.csv", *RECORDS):
        (out_dir / stale).unlink(missing_ok=True)
    nowcaster = build_nowcaster(method, seed, schedule, nowcaster_path)
    checkpoint = Checkpoint(out_dir / UNFINISHED, json.dumps(origin["inputs"], sort_keys=True), checkpoint_seconds)
    title = f"{task.spec.id} {method.label or method.name} seed={seed}"
    return _Job(seed, out_dir, origin, nowcaster, checkpoint, title)


def _finish(task: Task, method: MethodSpec, schedule: ScheduleSpec, job: _Job, at_once: int) -> dict[str, Any]:
    """Write the files of a result."""
    run = job.run
    if job.reason is not None:
        logger.warning("%s %s: %s", job.title, job.status, job.reason)
    result = summary(run, task, method, job.seed, schedule)
    result |= {"members_at_once": at_once, "status": job.status, "reason": job.reason, "provenance": job.origin}
    if isinstance(job.nowcaster, Oracle) and run is not None:
        steps = job.nowcaster.spacing * sum(row["k"] for row in run.nowcasts)
        result |= {"fork_steps": steps, "fork_seconds": run.clock.seconds["free"]}
    write_table(job.out_dir / "log.csv", run.rows if run else [], LOG_COLUMNS)
    write_table(job.out_dir / "nowcasts.csv", run.nowcasts if run else [], NOWCAST_COLUMNS)
    write_records(job.out_dir, {"jumps.csv": run.jumps, "around.csv": run.around.rows()} if run else {})
    write_json(job.out_dir / "run.json", result)
    if job.status != "failed":  # with more memory it may go on
        job.checkpoint.remove()
    return result


def _attempt(task: Task, method: MethodSpec, schedule: ScheduleSpec, jobs: Sequence[_Job]) -> None:
    """Train to the end, or to where it cannot go on: each job's run, its status and the reason."""
    try:
        if task.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(task.device)
        runs = []
        for job in jobs:
            training = start_training(task, method, job.seed, schedule, job.nowcaster)
            states = state_folders(training, method, schedule, job.out_dir)
            job.run = EvaluatedTraining(training, isinstance(job.nowcaster, Oracle), states)
            job.checkpoint.restore(job.run)
            runs.append(job.run)
        if len(jobs) == 1:
            _train(runs[0], jobs[0].checkpoint, jobs[0].title)
        else:
            _train_at_once(runs, jobs)
    except DivergedError as error:
        jobs[0].fail("diverged", str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        for job in jobs:
            if job.status == "done":
                job.fail("failed", f"out of memory: {str(error).partition(chr(10))[0] or type(error).__name__}")


def _train(run: EvaluatedTraining, checkpoint: Checkpoint, title: str) -> None:
    """Advance to the last step, with a progress bar, a log line every tenth of the way, and checkpoints."""
    metric, split = run.training.task.spec.target.metric, run.training.task.spec.target.split
    with _bar([run], title) as bar:
        while not run.finished:
            if run.advance():
                bar.set_postfix({metric: f"{run.rows[-1][split]:.2f}"}, refresh=False)
            bar.update()
            _tell(run, title)
            checkpoint.maybe_save(run)
        run.pause()


def _train_at_once(runs: Sequence[EvaluatedTraining], jobs: Sequence[_Job]) -> None:
    """The same for several runs."""
    with _bar(runs, f"{jobs[0].title} and {len(jobs) - 1} more") as bar:

        def stepped(i: int) -> None:
            bar.update()
            _tell(runs[i], jobs[i].title)
            jobs[i].checkpoint.maybe_save(runs[i])

        train_together(runs, lambda i, reason: jobs[i].fail("diverged", reason), stepped)


def _bar(runs: Sequence[EvaluatedTraining], title: str) -> tqdm:
    steps = [run.training.task.spec.recipe.steps for run in runs]
    done = sum(run.training.steps for run in runs)
    return tqdm(total=sum(steps), initial=done, desc=title, unit="step", disable=None)


def _tell(run: EvaluatedTraining, title: str) -> None:
    """Log a line every tenth of the way."""
    target, steps, done = run.training.task.spec.target, run.training.task.spec.recipe.steps, run.training.steps
    if done * 10 // steps > (done - 1) * 10 // steps:
        latest = f"{target.metric} {run.rows[-1][target.split]:.2f}" if run.rows else "not measured yet"
        logger.info("%s: step %d of %d, %s", title, done, steps, latest)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says so: Python's, a GPU's, or the plain RuntimeError of torch's allocator on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
