"""The numbers of ``run.json``."""

from __future__ import annotations

import math
import resource
import sys
from typing import Any

import torch

from nino.evaluate.level import steps_to_level, window
from nino.evaluate.loop import EvaluatedTraining
from nino.evaluate.tables import LOG_COLUMNS
from nino.evaluate.target import best_value, seconds_to_target, steps_to_target
from nino.specs import MethodSpec, ScheduleSpec
from nino.tasks import Task

FORMAT = 1


def summary(
    run: EvaluatedTraining | None, task: Task, method: MethodSpec, seed: int, schedule: ScheduleSpec
) -> dict[str, Any]:
    """The numbers of ``run.json``."""
    target, rows = task.spec.target, run.rows if run else []
    log = {name: [row[name] for row in rows] for name in LOG_COLUMNS}
    seconds = run.clock.seconds if run else dict.fromkeys(("train", "evaluation", "nowcast"), 0.0)
    final = rows[-1][target.split] if rows else None
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
        "running_mean_window": window(task.spec, schedule),
        "step_at_target_running_mean": steps_to_level(log, task.spec, schedule),
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
