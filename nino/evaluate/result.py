"""The content of ``run.json``: the numbers of a run that ended, in whatever way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nino.evaluate.run_folder import FORMAT, LOG_COLUMNS
from nino.evaluate.target import best_value, running_mean_score, seconds_to_target, steps_to_target
from nino.evaluate.target.running_mean import window
from nino.specs import MethodSpec, ScheduleSpec, TaskSpec

MEASURED = (
    "parameters",
    "train_seconds",
    "evaluation_seconds",
    "nowcast_seconds",
    "peak_memory_bytes",
    "members_at_once",
    "share_of_others",
    "fork_steps",
    "fork_seconds",
)
"""Numbers that only the run itself can tell. ``share_of_others`` is what others had of its cores, null where the system
does not say. The last two are the oracle's: base steps taken ahead of the run."""


def run_result(
    task: TaskSpec,
    method: MethodSpec,
    seed: int,
    schedule: ScheduleSpec,
    provenance: Mapping[str, Any],
    status: str,
    reason: str | None = None,
    rows: Sequence[Mapping[str, Any]] = (),
    measured: Mapping[str, float | None] = MappingProxyType({}),
) -> dict[str, Any]:
    """The content of ``run.json``, with the same keys for every run, but for what `write_run` adds on its files.

    Args:
        task: what was trained.
        method: the row of the table.
        seed: of the run.
        schedule: of its nowcasts.
        provenance: where the numbers come from, see `nino.provenance.provenance`.
        status: ``done``, ``diverged`` or ``failed``.
        reason: why the run is not done.
        rows: of ``log.csv``; none for a run that was killed.
        measured: numbers by the names in ``MEASURED``; those that are left out are null.
    """
    target = task.target
    log = {name: [row[name] for row in rows] for name in LOG_COLUMNS}
    final = rows[-1][target.split] if rows else None
    return {
        "format": FORMAT,
        "task": task.id,
        "method": method.name,
        "label": method.label or method.name,
        "seed": seed,
        "status": status,
        "reason": reason,
        "metric": target.metric,
        "higher_is_better": target.higher_is_better,
        "target": target.value,
        "split": target.split,
        "steps": task.recipe.steps,
        "step_at_target": steps_to_target(log, target),
        "seconds_at_target": seconds_to_target(log, target),
        "running_mean_window": window(task, schedule),
        "step_at_target_running_mean": running_mean_score(log, task, schedule),
        "best": best_value(log, target),
        "final": final if final is not None and math.isfinite(final) else None,
        "provenance": dict(provenance),
        **dict.fromkeys(MEASURED),
        **measured,
    }
