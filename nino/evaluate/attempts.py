"""What becomes of a run whose process is killed at every attempt: a result that says so.

A killed process cannot write its status. Each attempt therefore leaves a note in the run's folder while it is under
way. An attempt that finds the notes of enough killed ones does not train again, but writes the result.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nino.evaluate.result import run_result
from nino.evaluate.run_folder import ATTEMPTS, COPIES, RESULT, copy_run, write_run
from nino.files import write_json
from nino.provenance import provenance
from nino.specs import MethodSpec, ScheduleSpec, TaskSpec

logger = logging.getLogger(__name__)

CAUSES = {
    "TIMEOUT": "its wall time ran out",
    "DEADLINE": "its wall time ran out",
    "OUT_OF_MEMORY": "its memory ran out",
    "CANCELLED": "it was cancelled",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "it was preempted",
}


@contextmanager
def noted(folder: Path, number: int) -> Iterator[None]:
    """Note an attempt while it is under way, so that a later attempt knows whether it was killed.

    The results of a finished run are also copied, and restored from the copies if they are gone: a scheduler that runs
    several trainings as one job deletes the results of all of them when one fails, and the others need not be repeated.

    Args:
        folder: of the results.
        number: of the attempt, from 1; the first one discards notes that are there already.
    """
    notes = _notes(folder) if number > 1 else {}
    write_json(folder / ATTEMPTS, notes | {str(number): {"slurm": os.environ.get("SLURM_JOB_ID")}})
    result, copy = folder / RESULT, folder / COPIES / RESULT
    if copy.exists() and not result.exists():
        copy_run(copy.parent, folder)
    try:
        yield
    finally:
        (folder / ATTEMPTS).unlink(missing_ok=True)
    if copy.exists() and copy.read_bytes() == result.read_bytes():
        return
    if json.loads(result.read_text(encoding="utf-8"))["status"] != "failed":
        copy_run(folder, copy.parent)


def killed(folder: Path, number: int, attempts: int) -> str | None:
    """Why another attempt is not worth making.

    Args:
        folder: of the results.
        number: of this attempt.
        attempts: how many may be made.

    Returns:
        A reason, if that many were made and all were killed; None if there are attempts left, or if an earlier one left
        no note because it never began or was not killed.
    """
    notes = _notes(folder)
    if number <= attempts or any(str(earlier) not in notes for earlier in range(1, number)):
        return None
    times = "" if number == 2 else f" {number - 1} times"
    return f"killed{times}: {_cause(notes[str(number - 1)].get('slurm'))}"


def give_up(
    task: TaskSpec, method: MethodSpec, seed: int, schedule: ScheduleSpec, folder: Path, reason: str
) -> dict[str, Any]:
    """Write the files of a run that was killed: status ``failed``, the reason, no evaluations.

    The checkpoint that the attempts left stays. If the files are deleted, the next attempt continues from it.

    Args:
        task: what was trained.
        method: the row of the table.
        seed: of the run.
        schedule: of its nowcasts.
        folder: of the results.
        reason: what tables say of the run.

    Returns:
        The content of ``run.json``.
    """
    logger.warning("%s %s seed=%d failed: %s", task.id, method.label or method.name, seed, reason)
    origin = provenance(task=task, method=method, seed=seed, schedule=schedule)
    result = write_run(folder, run_result(task, method, seed, schedule, origin, "failed", reason), {})
    (folder / ATTEMPTS).unlink(missing_ok=True)
    return result


def _notes(folder: Path) -> dict[str, dict[str, str | None]]:
    try:
        return dict(json.loads((folder / ATTEMPTS).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def _cause(job: str | None) -> str:
    """What ended a SLURM job, as SLURM says; the likely cause where it does not know or there is no such job."""
    likely = "most likely its memory ran out"
    if job is None:
        return likely
    state = _state(job)
    return f"{CAUSES.get(state, likely)} (SLURM job {job}: {state})" if state else f"{likely} (SLURM job {job})"


def _state(job: str) -> str:
    """The state of a SLURM job; empty if SLURM does not know it any more."""
    for command in (["scontrol", "show", "job", job, "--oneliner"], ["sacct", "-nXPj", job, "-o", "State"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and (words := done.stdout.split()):
            fields = dict(word.partition("=")[::2] for word in words)
            return fields.get("JobState", words[0])
    return ""
