"""One job of the benchmark: a task, a method and a seed, from the first step to the three files of its result."""

from __future__ import annotations

import json
import logging
import math
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nino.config.references import Reference
from nino.evaluate.checkpoint import Checkpoint
from nino.evaluate.loop import DivergedError, EvaluatedTraining
from nino.evaluate.methods import build_nowcaster, nowcaster_file, start_training
from nino.evaluate.oracle import Oracle
from nino.evaluate.tables import LOG_COLUMNS, NOWCAST_COLUMNS, write_table
from nino.evaluate.target import best_value, seconds_to_target, steps_to_running_mean, steps_to_target
from nino.files import write_json
from nino.nowcasters.base import Nowcaster
from nino.provenance import provenance
from nino.specs import MethodSpec, ScheduleSpec
from nino.tasks import Task

logger = logging.getLogger(__name__)

FORMAT = 1
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

    Writes ``log.csv`` (a row per evaluation), ``nowcasts.csv`` and, last, ``run.json`` (the summary that is returned)
    into ``out_dir``, each whole or not at all. A run whose loss stops being finite ends as ``diverged``, one that runs
    out of memory as ``failed``, with the reason and the rows so far: results, not errors. While it runs,
    ``unfinished.pt`` holds a checkpoint; a killed run goes on from there and ends with the same numbers (seconds
    excepted) as one that was not.

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
    origin = provenance(**_inputs(task, method, seed, schedule, nowcaster_path))
    if resume and (finished := _finished(out_dir, origin["inputs"])):
        logger.info("%s: already %s, left as it is", out_dir, finished["status"])
        return finished
    for stale in ("run.json", "log.csv", "nowcasts.csv"):
        (out_dir / stale).unlink(missing_ok=True)
    nowcaster = build_nowcaster(method, seed, schedule, nowcaster_path)
    checkpoint = Checkpoint(out_dir / UNFINISHED, json.dumps(origin["inputs"], sort_keys=True), checkpoint_seconds)
    if not resume:
        checkpoint.remove()
    title = f"{task.spec.id} {method.label or method.name} seed={seed}"
    run, status, reason = _attempt(task, method, seed, schedule, nowcaster, checkpoint, title)
    if reason is not None:
        logger.warning("%s %s: %s", title, status, reason)
    result = _summary(run, task, method, seed, schedule) | {"status": status, "reason": reason, "provenance": origin}
    if isinstance(nowcaster, Oracle) and run is not None:
        steps = nowcaster.spacing * sum(row["k"] for row in run.nowcasts)
        result |= {"fork_steps": steps, "fork_seconds": run.clock.seconds["free"]}
    write_table(out_dir / "log.csv", run.rows if run else [], LOG_COLUMNS)
    write_table(out_dir / "nowcasts.csv", run.nowcasts if run else [], NOWCAST_COLUMNS)
    write_json(out_dir / "run.json", result)
    if status != "failed":  # with more memory it may go on
        checkpoint.remove()
    return result


def _inputs(
    task: Task, method: MethodSpec, seed: int, schedule: ScheduleSpec, nowcaster_path: Path | None
) -> dict[str, Any]:
    """What the numbers follow from; two jobs of the same inputs are the same job."""
    inputs = {"task": task.spec, "data": task.data_checksum, "method": method, "seed": seed, "schedule": schedule}
    if own := Reference.parse(method.nowcaster):
        return inputs | {"nowcaster": own.record()}
    file = nowcaster_file(method, nowcaster_path)
    # a known name is not a file: the weights it stands for come with the package, whose version is recorded
    return inputs | {"nowcaster": file if file is None or file.exists() else file.as_posix()}


def _finished(out_dir: Path, inputs: dict[str, Any]) -> dict[str, Any] | None:
    """The result of the same job, if it is there and complete."""
    try:
        result = json.loads((out_dir / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if not isinstance(result, dict) or result.get("format") != FORMAT or result.get("status") == "failed":
        return None
    if not all((out_dir / name).is_file() for name in ("log.csv", "nowcasts.csv")):
        return None
    same = result["provenance"]["inputs"] == json.loads(json.dumps(inputs))
    return result if same else None


def _attempt(
    task: Task,
    method: MethodSpec,
    seed: int,
    schedule: ScheduleSpec,
    nowcaster: Nowcaster | None,
    checkpoint: Checkpoint,
    title: str,
) -> tuple[EvaluatedTraining | None, str, str | None]:
    """Train to the end, or to where it cannot go on: the run, its status and the reason."""
    run = None
    try:
        if task.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(task.device)
        training = start_training(task, method, seed, schedule, nowcaster)
        run = EvaluatedTraining(training, free=isinstance(nowcaster, Oracle))
        checkpoint.restore(run)
        _train(run, checkpoint, title)
    except DivergedError as error:
        return run, "diverged", str(error)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return run, "failed", f"out of memory: {str(error).partition(chr(10))[0] or type(error).__name__}"
    return run, "done", None


def _train(run: EvaluatedTraining, checkpoint: Checkpoint, title: str) -> None:
    """Advance to the last step, with a progress bar, a log line every tenth of the way, and checkpoints."""
    steps = run.training.task.spec.recipe.steps
    metric, split = run.training.task.spec.target.metric, run.training.task.spec.target.split
    with tqdm(total=steps, initial=run.training.steps, desc=title, unit="step", disable=None) as bar:
        while not run.finished:
            if run.advance():
                bar.set_postfix({metric: f"{run.rows[-1][split]:.2f}"}, refresh=False)
            bar.update()
            done = run.training.steps
            if done * 10 // steps > (done - 1) * 10 // steps:
                latest = f"{metric} {run.rows[-1][split]:.2f}" if run.rows else "not measured yet"
                logger.info("%s: step %d of %d, %s", title, done, steps, latest)
            checkpoint.maybe_save(run)
        run.pause()


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says so: Python's, a GPU's, or the plain RuntimeError of torch's allocator on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _summary(
    run: EvaluatedTraining | None, task: Task, method: MethodSpec, seed: int, schedule: ScheduleSpec
) -> dict[str, Any]:
    """The numbers of ``run.json``; the running mean covers a tenth of a period."""
    target, rows = task.spec.target, run.rows if run else []
    log = {name: [row[name] for row in rows] for name in LOG_COLUMNS}
    seconds = run.clock.seconds if run else dict.fromkeys(("train", "evaluation", "nowcast"), 0.0)
    final = rows[-1][target.split] if rows else None
    # rows that a hardest-first evaluation adds lie where the metric peaks: a mean may not be taken over them
    level = [row for row in rows if row["validation"] is not None] if task.spec.evaluation.hardest_first else rows
    levels = {name: [row[name] for row in level] for name in ("step", target.split)}
    window = max(1, schedule.period // 10)
    return {
        "format": FORMAT,
        "task": task.spec.id,
        "method": method.name,
        "label": method.label or method.name,
        "seed": seed,
        "metric": target.metric,
        "higher_is_better": target.higher_is_better,
        "target": target.value,
        "split": target.split,
        "steps": task.spec.recipe.steps,
        "step_at_target": steps_to_target(log, target),
        "seconds_at_target": seconds_to_target(log, target),
        "running_mean_window": window,
        "step_at_target_running_mean": steps_to_running_mean(levels, target, window),
        "best": best_value(log, target),
        "final": final if final is not None and math.isfinite(final) else None,
        "parameters": task.num_parameters(),
        "train_seconds": seconds["train"],
        "evaluation_seconds": seconds["evaluation"],
        "nowcast_seconds": seconds["nowcast"],
        "peak_memory_bytes": _peak_memory_bytes(task.device),
    }


def _peak_memory_bytes(device: torch.device) -> int:
    """Of the GPU's memory since the run began; on a CPU of the whole process, this job being all it does."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in kilobytes
