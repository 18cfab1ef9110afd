"""When two jobs are the same job, so that a finished one is left as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from nino.evaluate.methods import nowcaster_file
from nino.evaluate.summary import FORMAT
from nino.specs import MethodSpec, Reference, ScheduleSpec, Spec, TaskSpec
from nino.tasks import Task


def job_inputs(
    task: Task, method: MethodSpec, seed: int, schedule: ScheduleSpec, nowcaster_path: Path | None
) -> dict[str, Any]:
    """What the numbers of a run follow from; tables may call its method something else.

    Args:
        task: what is trained.
        method: the row of the table.
        seed: of the run.
        schedule: when nowcasts happen and how far they reach.
        nowcaster_path: file of the weights, for methods that read one.

    Returns:
        Specs and checksums, as ``run.json`` has them under ``provenance.inputs``.
    """
    unnamed = replace(method, label=None)
    inputs = {"task": task.spec, "data": task.data_checksum, "method": unnamed, "seed": seed, "schedule": schedule}
    if own := Reference.parse(method.nowcaster):
        return inputs | {"nowcaster": own.record()}
    file = nowcaster_file(method, nowcaster_path)
    # a known name is not a file: the weights it stands for come with the package, whose version is recorded
    return inputs | {"nowcaster": file if file is None or file.exists() else file.as_posix()}


def finished_result(out_dir: Path, inputs: dict[str, Any]) -> dict[str, Any] | None:
    """The content of a folder's ``run.json`` where it is the whole result of the same job; None otherwise.

    Args:
        out_dir: folder of the results.
        inputs: of the job, recorded by `nino.provenance.provenance`.
    """
    try:
        result = json.loads((out_dir / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if not isinstance(result, dict) or result.get("format") != FORMAT or result.get("status") == "failed":
        return None
    if not all((out_dir / name).is_file() for name in ("log.csv", "nowcasts.csv")):
        return None
    return result if _complete(result["provenance"]["inputs"]) == json.loads(json.dumps(inputs)) else None


def _complete(recorded: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a run as today's code records them: options that came later have their defaults, labels are out."""
    kinds: dict[str, type[Spec]] = {"task": TaskSpec, "method": MethodSpec, "schedule": ScheduleSpec}
    try:
        inputs = recorded | {"method": recorded["method"] | {"label": None}}
        return inputs | {name: kind.from_dict(inputs[name]).to_dict() for name, kind in kinds.items()}
    except (KeyError, TypeError, ValueError):  # of another version altogether: another job
        return recorded
