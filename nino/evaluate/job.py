"""A run to make, and whether it has been made already."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nino.evaluate.methods import nowcaster_file
from nino.evaluate.run_folder import LOG, NOWCASTS, CorruptRunError, check_files, read_result
from nino.specs import EvaluationUnit, MethodSpec, ScheduleSpec, Spec, TaskSpec
from nino.specs.outside import records
from nino.tasks import Task


@dataclass(frozen=True)
class Job:
    """A run to make.

    Args:
        task: what is trained, on the device it is trained on.
        method: the row of the table.
        seed: of initialisation, batch order and the method's own draws; the same for every method of a comparison.
        schedule: when nowcasts happen and how far they reach.
        folder: of the results, created.
        nowcaster_path: file of the weights, for methods that read one.
    """

    task: Task
    method: MethodSpec
    seed: int
    schedule: ScheduleSpec
    folder: Path
    nowcaster_path: Path | None = None

    @property
    def trained(self) -> Task:
        """The task with the recipe that the method trains it with."""
        return self.task.with_recipe(self.method.recipe_of(self.task.spec))

    @property
    def title(self) -> str:
        """How progress bars and logs call it."""
        return f"{self.task.spec.id} {self.method.label or self.method.name} seed={self.seed}"


def job_inputs(job: Job) -> dict[str, Any]:
    """What the numbers of a run follow from; the label under which tables show its method is no part of it.

    Returns:
        Specs and checksums, as ``run.json`` has them under ``provenance.inputs``.
    """
    method = replace(job.method.on(job.task.spec.id), label=None)
    inputs = {"task": job.task.spec, "data": job.task.data_checksum, "method": method, "seed": job.seed}
    inputs["schedule"] = job.schedule
    outside = records(EvaluationUnit(job.task.spec, method, job.schedule))
    nowcaster = outside.pop("method.nowcaster", None)
    if outside:
        inputs["sources"] = outside
    if nowcaster is not None:
        return inputs | {"nowcaster": nowcaster}
    file = nowcaster_file(method, job.nowcaster_path)
    # the name of a published nowcaster is not a file: the version of this package says which weights it stands for
    return inputs | {"nowcaster": file if file is None or file.exists() else file.as_posix()}


def finished_result(folder: Path, inputs: dict[str, Any]) -> dict[str, Any] | None:
    """The content of a folder's ``run.json`` if it is the whole result of the same job; None otherwise.

    Args:
        folder: of the results.
        inputs: of the job, as `nino.provenance.provenance` records them.
    """
    try:
        result = read_result(folder)
        check_files(folder, result)
    except CorruptRunError:
        return None
    if result["status"] == "failed" or not all((folder / name).is_file() for name in (LOG, NOWCASTS)):
        return None
    asked, recorded = json.loads(json.dumps(inputs)), _in_todays_terms(result["provenance"]["inputs"])
    if isinstance(now := asked["nowcaster"], dict) and "package" not in (recorded.get("nowcaster") or {}):
        now.pop("package", None)  # earlier versions did not record it
    return result if recorded == asked else None


def _in_todays_terms(recorded: dict[str, Any]) -> dict[str, Any]:
    """The recorded inputs of a run as today's code records them: with defaults of later options, without labels."""
    kinds: dict[str, type[Spec]] = {"task": TaskSpec, "method": MethodSpec, "schedule": ScheduleSpec}
    try:
        inputs = recorded | {"method": recorded["method"] | {"label": None}}
        return inputs | {name: kind.from_dict(inputs[name]).to_dict() for name, kind in kinds.items()}
    except (KeyError, TypeError, ValueError):  # of another version altogether: another job
        return recorded
