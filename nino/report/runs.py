"""Reading the evaluation runs of a results directory: every planned run is a row, whatever became of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

import numpy as np
import pandas as pd

from nino.config.layout import Layout
from nino.evaluate.run_folder import RESULT, CorruptRunError, RunFiles, read_result, read_run
from nino.evaluate.target import running_mean_score
from nino.evaluate.target.running_mean import spacing
from nino.report.comparable import MixedRunsError, mixed_runs
from nino.specs import ReportSpec, TaskSpec

logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class Key(NamedTuple):
    """Which run: task id, method name, seed."""

    task: str
    method: str
    seed: int

    def folder(self, results: Path) -> Path:
        """Where the run's files lie below ``results/<run>``."""
        return Path(Layout.of(results).evaluation(*self))


def once(compute: Callable[Concatenate[Runs, P], T]) -> Callable[Concatenate[Runs, P], T]:
    """Let a function of runs, which never change, be computed once for the same arguments: tables ask it many times.

    A frame is given out as a copy, so that a caller who changes it changes nobody else's.
    """

    @wraps(compute)
    def remembered(runs: Runs, /, *args: P.args, **kwargs: P.kwargs) -> T:
        computed, key = runs._computed, (compute, args, tuple(kwargs.items()))
        if key not in computed:
            computed[key] = compute(runs, *args, **kwargs)
        value = computed[key]
        return cast(T, value.copy() if isinstance(value, pd.DataFrame) else value)

    return remembered


@dataclass(frozen=True)
class Runs:
    """All planned runs.

    Args:
        spec: the report they belong to.
        frame: a row per planned run in the spec's order: task, method, seed, status (``done``, ``diverged``, ``failed``
            or ``missing``), reason, reached, steps (to target; NaN where not reached), steady_steps (to a running mean
            at target), seconds (to target, training and nowcasting), budget (steps a run may take), best, final,
            parameters, train_seconds, evaluation_seconds, nowcast_seconds, peak_memory_bytes.
        logs: the evaluations of each run that exists, sorted by step.
        nowcasts: its nowcasts, sorted by step.
        info: its ``run.json``.
        data: what the data stage recorded of each task (``data/<task>.json``); tasks without a record are left out.
        jumps: what its nowcasts did to each tensor (``jumps.csv``), of the runs that kept it: earlier versions did not.
        losses: losses of the steps around its nowcasts (``around.csv``), of the runs that kept them.
    """

    spec: ReportSpec
    frame: pd.DataFrame
    logs: Mapping[Key, pd.DataFrame]
    nowcasts: Mapping[Key, pd.DataFrame]
    info: Mapping[Key, Mapping[str, Any]]
    data: Mapping[str, Mapping[str, Any]]
    jumps: Mapping[Key, pd.DataFrame] = field(default_factory=dict)
    losses: Mapping[Key, pd.DataFrame] = field(default_factory=dict)
    _computed: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @once
    def part(self, task: str, method: str) -> pd.DataFrame:
        """The rows of ``frame`` of a method on a task."""
        return self.frame[(self.frame.task == task) & (self.frame.method == method)]

    def keys(self, task: str, method: str) -> list[Key]:
        """The runs of a method on a task that have a log, in the order of the seeds."""
        keys = [Key(task, method, seed) for seed in self.spec.seeds]
        return [key for key in keys if key in self.logs and len(self.logs[key])]

    def nowcasts_of(self, method: str, task: str | None = None) -> pd.DataFrame:
        """The nowcasts of a method on a task (default: all tasks), seed by seed; without columns where none is."""
        items = self.nowcasts.items()
        tables = [table for key, table in items if key.method == method and task in (None, key.task) and len(table)]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    @once
    def steps(self, task: str, column: str = "steps") -> pd.DataFrame:
        """Steps to target of a task: a row per seed, a column per method; inf: not reached, NaN: no such run.

        A run of the baseline that failed before its target (out of memory, or killed) is NaN as well: nobody knows
        whether it would have missed, and a miss would favour the methods. A failed run of a method counts as a miss.

        Args:
            task: task id.
            column: ``steps``, to the first hit, or ``steady_steps``, to a running mean at target.
        """
        part = self.frame[self.frame.task == task]
        unknown = (part.status == "missing") | ((part.status == "failed") & (part.method == self.spec.baseline))
        steps = part[column].fillna(np.inf).mask(unknown & part[column].isna())
        table = part.assign(steps=steps).pivot(index="seed", columns="method", values="steps")
        return table.reindex(index=list(self.spec.seeds), columns=list(self.spec.row_order))

    @once
    def counted_steps(self, task: str, column: str = "steps") -> pd.DataFrame:
        """`steps` by which methods are compared: a miss counts as the step budget, the fewest it can have taken."""
        budget = float(self.frame.budget[self.frame.task == task].max())
        return self.steps(task, column).clip(upper=budget)

    def missed(self, task: str, method: str) -> bool:
        """Whether a seed of a method missed the target, so that its mean steps are more than those that are counted."""
        return bool(np.isinf(self.steps(task)[method]).any())

    @once
    def grid(self, key: Key) -> pd.DataFrame:
        """The evaluations of a run that every run of its task has, without the rows that a hit or a peak adds."""
        task, log = self.spec.task(key.task), self.logs[key]
        return log[(log.step % spacing(task) == 0) | (log.step == task.recipe.steps)]


def read_runs(results: Path, spec: ReportSpec) -> Runs:
    """Read and check all runs that a report is made of.

    Args:
        results: the run's directory, ``results/<run>``.
        spec: which tasks, methods and seeds belong to it.

    Returns:
        The runs; those without a folder are rows of status ``missing``.

    Raises:
        CorruptRunError: names every file that is damaged, incomplete or belongs elsewhere, with the reason.
        MixedRunsError: for runs that the report may not compare, see `nino.report.comparable.mixed_runs`.
    """
    recorded, faults = _results(results, spec)
    data = {task.id: read_data_record(results, task.id) for task in spec.tasks}
    present = {task: record for task, record in data.items() if record is not None}
    if mixed := mixed_runs(spec, recorded, present):
        raise MixedRunsError("\n".join(f"{results}/{line}" for line in mixed))
    read: dict[Key, RunFiles] = {}
    for key in recorded:
        try:
            read[key] = read_run(key.folder(results), spec.task(key.task), key.method, key.seed)
        except CorruptRunError as error:
            faults.append(str(error))
    if faults:
        raise CorruptRunError("; ".join(faults) + ". Delete these runs' folders and evaluate them again.")
    for folder in unplanned(results, spec):
        logger.warning("%s is not part of this report: its task, method or seed is not in the config", folder)
    return Runs(
        spec,
        pd.DataFrame([_planned_row(results, key, spec, read.get(key)) for key in planned_keys(spec)]),
        logs={key: pd.DataFrame(run.log).astype({"step": np.int64}) for key, run in read.items()},
        nowcasts={key: pd.DataFrame(run.nowcasts) for key, run in read.items()},
        info={key: run.result for key, run in read.items()},
        data=present,
        jumps={key: pd.DataFrame(run.jumps) for key, run in read.items() if run.jumps is not None},
        losses={key: pd.DataFrame(run.losses) for key, run in read.items() if run.losses is not None},
    )


def read_some_runs(results: Path, spec: ReportSpec) -> Runs:
    """Read the runs that something is to be written from, as `read_runs`.

    Raises:
        ValueError: where there is not a single one, and as `read_runs`.
    """
    runs = read_runs(results, spec)
    if not runs.info:
        raise ValueError(
            f"{results / 'evaluate'}: holds none of the {len(runs.frame)} runs of the report, so nothing was written; "
            "give the folder of the runs (--results), or make them (`nino evaluate`)"
        )
    return runs


def data_path(results: Path, task: str) -> Path:
    """Where the data stage recorded a task's data below ``results/<run>``."""
    return Path(Layout.of(results).data(task))


def read_data_record(results: Path, task: str) -> dict[str, Any] | None:
    """What the data stage recorded of a task; None where it has not run.

    Raises:
        CorruptRunError: for a file that is no such record.
    """
    path = data_path(results, task)
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {"examples": dict(record["data"]["examples"]), "checksum": str(record["data"]["checksum"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptRunError(
            f"{path}: not a record of a task's data ({error!r}); delete it and write it again"
        ) from error


def planned_keys(spec: ReportSpec) -> list[Key]:
    """Every planned run, in the tables' order."""
    return [
        Key(task.id, method.name, seed)
        for task in spec.tasks
        for method in spec.methods
        for seed in (spec.seeds if spec.plans(task.id, method.name) else ())
    ]


def unplanned(results: Path, spec: ReportSpec) -> list[Path]:
    """Folders of runs below ``results`` that no row of the report stands for."""
    planned = {key.folder(results) for key in planned_keys(spec)}
    return sorted(path.parent for path in results.glob(f"evaluate/*/*/seed=*/{RESULT}") if path.parent not in planned)


def _results(results: Path, spec: ReportSpec) -> tuple[dict[Key, dict[str, Any]], list[str]]:
    """The ``run.json`` of every planned run that is there, and what is wrong with the others."""
    recorded: dict[Key, dict[str, Any]] = {}
    faults: list[str] = []
    for key in planned_keys(spec):
        folder = key.folder(results)
        try:
            if (folder / RESULT).exists():
                recorded[key] = read_result(folder)
        except CorruptRunError as error:
            faults.append(str(error))
    return recorded, faults


def _planned_row(results: Path, key: Key, spec: ReportSpec, run: RunFiles | None) -> dict[str, Any]:
    """A row of the frame, of a run that is there or of one that is missing."""
    task = spec.task(key.task)
    if run is None:
        return _row(key, task, {"status": "missing", "reason": f"no {_name(key.folder(results))}/{RESULT}"})
    return _row(key, task, run.result, running_mean_score(run.log, task, spec.schedule))


def _row(key: Key, task: TaskSpec, info: Mapping[str, Any], mean_score: int | None = None) -> dict[str, Any]:
    def number(name: str) -> float:
        value = info.get(name)
        return np.nan if value is None else float(value)

    steps = number("step_at_target")
    return {
        **key._asdict(),
        "status": info["status"],
        "reason": info["reason"],
        "reached": bool(np.isfinite(steps)),
        "steps": steps,
        "steady_steps": np.nan if mean_score is None else float(mean_score),
        "seconds": number("seconds_at_target"),
        "budget": float(info.get("steps", task.recipe.steps)),
        **{
            name: number(name)
            for name in (
                "best",
                "final",
                "parameters",
                "train_seconds",
                "evaluation_seconds",
                "nowcast_seconds",
                "peak_memory_bytes",
            )
        },
    }


def _name(folder: Path) -> str:
    return "/".join(folder.parts[-4:])
