"""What becomes of a job that the system kills, each time: a row of the table that says so.

A killed process cannot write its status. So each attempt leaves a note while it runs, which a scheduler's later attempt
finds if nothing took it away; once enough of them were killed, the next one writes the run's files instead of trying.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nino.evaluate.records import RECORDS, complete_records
from nino.evaluate.tables import LOG_COLUMNS, NOWCAST_COLUMNS, write_table
from nino.files import replacing, write_json
from nino.provenance import provenance
from nino.specs import MethodSpec, ScheduleSpec, TaskSpec

logger = logging.getLogger(__name__)

NOTES = ".attempts.json"
KEPT = ".kept"
FILES = ("log.csv", "nowcasts.csv", *RECORDS, "run.json")  # the last one makes a run count
FATES = {
    "TIMEOUT": "its wall time ran out",
    "DEADLINE": "its wall time ran out",
    "OUT_OF_MEMORY": "its memory ran out",
    "CANCELLED": "it was cancelled",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "it was preempted",
}


@contextmanager
def noted(folder: Path, number: int) -> Iterator[None]:
    """An attempt at an evaluation: noted while it runs, so that a later one knows whether it was killed.

    The results of a finished run are kept beside themselves: a scheduler that runs several trainings in one entry and
    sees one of them fail deletes the results of all of them, and they are not trained again for that.

    Args:
        folder: of the results.
        number: which attempt it is, from 1, which forgets those before it.
    """
    notes = _notes(folder) if number > 1 else {}
    write_json(folder / NOTES, notes | {str(number): {"slurm": os.environ.get("SLURM_JOB_ID")}})
    if not (folder / FILES[-1]).exists() and (folder / KEPT / FILES[-1]).exists():
        _copy(folder / KEPT, folder)
    try:
        yield
    finally:
        (folder / NOTES).unlink(missing_ok=True)
    result, kept = (where / FILES[-1] for where in (folder, folder / KEPT))
    if kept.exists() and kept.read_bytes() == result.read_bytes():
        return
    if json.loads(result.read_text(encoding="utf-8"))["status"] != "failed":
        _copy(folder, folder / KEPT)


def killed(folder: Path, number: int, attempts: int) -> str | None:
    """Why there is no use in another attempt.

    Args:
        folder: of the results.
        number: which attempt this would be.
        attempts: how many are made.

    Returns:
        A reason where that many were made and each was killed; None where there are more to make, or one of them never
        began.
    """
    notes = _notes(folder)
    if number <= attempts or any(str(earlier) not in notes for earlier in range(1, number)):
        return None
    times = "" if number == 2 else f" {number - 1} times"
    return f"killed{times}: {_fate(notes[str(number - 1)].get('slurm'))}"


def give_up(
    task: TaskSpec, method: MethodSpec, seed: int, schedule: ScheduleSpec, folder: Path, reason: str
) -> dict[str, Any]:
    """Write the files of a run that was killed: status ``failed``, the reason, no evaluations.

    The checkpoint that the attempts left stays: where the files are deleted, the next run goes on from it.

    Args:
        task: what was trained.
        method: the row of the table.
        seed: of the run.
        schedule: of its nowcasts.
        folder: of the results.
        reason: what the table says of it.

    Returns:
        The content of ``run.json``.
    """
    logger.warning("%s %s seed=%d failed: %s", task.id, method.label or method.name, seed, reason)
    result = {
        "format": 1,
        "task": task.id,
        "method": method.name,
        "label": method.label or method.name,
        "seed": seed,
        "status": "failed",
        "reason": reason,
        "metric": task.target.metric,
        "higher_is_better": task.target.higher_is_better,
        "target": task.target.value,
        "split": task.target.split,
        "steps": task.recipe.steps,
        "provenance": provenance(task=task, method=method, seed=seed, schedule=schedule),
        **dict.fromkeys(("step_at_target", "seconds_at_target", "best", "final")),
    }
    write_table(folder / "log.csv", [], LOG_COLUMNS)
    write_table(folder / "nowcasts.csv", [], NOWCAST_COLUMNS)
    complete_records(folder)
    write_json(folder / "run.json", result)
    (folder / NOTES).unlink(missing_ok=True)
    return result


def _notes(folder: Path) -> dict[str, dict[str, str | None]]:
    try:
        return dict(json.loads((folder / NOTES).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def _copy(source: Path, target: Path) -> None:
    for name in FILES:
        if name in RECORDS and not (source / name).exists():
            continue  # of a run from before there were any
        with replacing(target / name) as path:
            shutil.copyfile(source / name, path)


def _fate(job: str | None) -> str:
    """What ended a job, as its scheduler says; where none did, or none is asked, the likely cause."""
    unknown = "most likely its memory ran out"
    if job is None:
        return unknown
    state = _state(job)
    return f"{FATES.get(state, unknown)} (SLURM job {job}: {state})" if state else f"{unknown} (SLURM job {job})"


def _state(job: str) -> str:
    """State of a SLURM job, empty where SLURM does not know it any more."""
    for command in (["scontrol", "show", "job", job, "--oneliner"], ["sacct", "-nXPj", job, "-o", "State"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and (said := done.stdout.split()):
            fields = dict(field.partition("=")[::2] for field in said)
            return fields.get("JobState", said[0])
    return ""
