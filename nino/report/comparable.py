"""Which runs may stand in one table: those of the report's own tasks, methods, schedule and data, and of no other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nino.evaluate.run_folder import RESULT
from nino.specs import MethodSpec, ReportSpec, ScheduleSpec, Spec, TaskSpec

Run = tuple[str, str, int]
NEXT = "evaluate it again with this config, or report it with its own"
ELSEWHERE = ("data.path",)
"""Where data lie differs from machine to machine; what they are, their checksum says."""


class MixedRunsError(ValueError):
    """Runs that may not be compared; a line for each."""


def mixed_runs(
    spec: ReportSpec, info: Mapping[Any, Mapping[str, Any]], data: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Name the runs that were not made as the report says, or not alike.

    A run records what it was made from. Its task (recipe, target, evaluation, model), method and schedule have to be
    the report's, its data those of the data stage and of the other runs of its task, its weights those of the method's
    other runs, and what it took from outside this package that of the other runs of the task or method. What an older
    record does not hold is not compared.

    Args:
        spec: the report.
        info: the content of each ``run.json``, by task, method and seed.
        data: what the data stage recorded of each task.

    Returns:
        A line for each key that differs: the run, both values, what to do.
    """
    faults: list[str] = []
    checksums = {task: (str(record["checksum"]), f"data/{task}.json") for task, record in data.items()}
    weights: dict[str, tuple[str, str]] = {}
    outside: dict[tuple[str, ...], tuple[Mapping[str, Any], str]] = {}
    baseline_first = sorted(info, key=lambda run: run[1] != spec.baseline)  # where no record tells, it is right
    for task, method, seed in baseline_first:
        inputs = (info[task, method, seed].get("provenance") or {}).get("inputs") or {}
        place = f"evaluate/{task}/{method}/seed={seed}/{RESULT}"
        of_run = [*_as_planned(spec, (task, method, seed), inputs)]
        if info[task, method, seed]["format"] >= 2 and (gone := {"task", "method", "schedule", "seed"} - set(inputs)):
            of_run.append(f"{min(gone)} is not recorded under provenance.inputs, as it is of every run of format 2")
        if checksum := inputs.get("data"):
            right, where = checksums.setdefault(task, (checksum, place))
            of_run += [f"data {checksum[:10]}..., {where} has {right[:10]}..."] if checksum != right else []
        if isinstance(file := inputs.get("nowcaster"), Mapping) and "sha256" in file:
            right, where = weights.setdefault(method, (file["sha256"], place))
            digest = file["sha256"]
            of_run += [f"weights {digest[:10]}..., {where} has {right[:10]}..."] if digest != right else []
        for key, source in (inputs.get("sources") or {}).items():  # code outside this package
            owner = "" if key.startswith("task.") else method
            first, where = outside.setdefault((key, task, owner), (source, place))
            for name, mine, other in differences(source, first, key):
                if not name.endswith(".path"):  # where it lies is one machine's
                    of_run.append(f"{name} is {mine!r}, {where} has {other!r}")
        faults += [f"{place}: {fault}: {NEXT}" for fault in of_run]
    return faults


def _as_planned(spec: ReportSpec, run: Run, inputs: Mapping[str, Any]) -> Iterator[str]:
    """Where the recorded specs of a run differ from the report's."""
    task, name, seed = run
    method = next(method for method in spec.methods if method.name == name)
    planned: dict[str, Spec] = {
        "task": spec.task(task),
        "method": replace(method.on(task), label=None),
        "schedule": spec.schedule,
    }
    kinds: dict[str, type[Spec]] = {"task": TaskSpec, "method": MethodSpec, "schedule": ScheduleSpec}
    if inputs.get("seed", seed) != seed:
        yield f"seed is {inputs['seed']!r}, the folder's is {seed!r}"
    for part, ours in planned.items():
        if part not in inputs:
            continue
        recorded = {**inputs[part], "label": None} if part == "method" else inputs[part]
        theirs = kinds[part].from_dict(recorded)
        for key, mine, other in differences(theirs.to_dict(), ours.to_dict()):
            if key not in ELSEWHERE:
                yield f"{part}.{key} is {mine!r}, the report's is {other!r}"


def differences(mine: Any, other: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The keys in which two nested mappings differ, with both values; None for a key that is missing.

    >>> list(differences({"lr": 0.1, "a": {"b": [1]}}, {"lr": 0.2, "a": {"b": [1]}}))
    [('lr', 0.1, 0.2)]
    """
    if isinstance(mine, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys([*mine, *other]):
            yield from differences(mine.get(name), other.get(name), f"{key}.{name}" if key else str(name))
    elif mine != other and not (_is_list(mine) and _is_list(other) and list(mine) == list(other)):
        yield key, mine, other


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
