"""Reading the evaluation runs of a results directory: every planned run is a row, whatever became of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nino.evaluate import LOG_COLUMNS, NOWCAST_COLUMNS, read_table, steps_to_target
from nino.evaluate.around import COLUMNS as AROUND_COLUMNS
from nino.evaluate.jumps import COLUMNS as JUMP_COLUMNS
from nino.evaluate.level import steps_to_level
from nino.specs import ReportSpec, TargetSpec, TaskSpec

logger = logging.getLogger(__name__)

FORMAT = 1
STATUSES = ("done", "diverged", "failed")
INFO_KEYS = ("format", "task", "method", "seed", "status", "reason", "steps", "step_at_target", "final")


class CorruptRunError(ValueError):
    """A run's files are there but cannot be what the evaluation wrote."""


class Key(NamedTuple):
    """Which run: task id, method name, seed."""

    task: str
    method: str
    seed: int

    def folder(self, results: Path) -> Path:
        """Where the run's files lie below ``results/<run>``."""
        return results / "evaluate" / self.task / self.method / f"seed={self.seed}"


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
        around: losses of the steps around its nowcasts (``around.csv``), of the runs that kept them.
    """

    spec: ReportSpec
    frame: pd.DataFrame
    logs: Mapping[Key, pd.DataFrame]
    nowcasts: Mapping[Key, pd.DataFrame]
    info: Mapping[Key, Mapping[str, Any]]
    data: Mapping[str, Mapping[str, Any]]
    jumps: Mapping[Key, pd.DataFrame] = field(default_factory=dict)
    around: Mapping[Key, pd.DataFrame] = field(default_factory=dict)

    def keys(self, task: str, method: str) -> list[Key]:
        """The runs of a method on a task that have a log, in the order of the seeds."""
        keys = [Key(task, method, seed) for seed in self.spec.seeds]
        return [key for key in keys if key in self.logs and len(self.logs[key])]

    def steps(self, task: str) -> pd.DataFrame:
        """Steps to target of a task: a row per seed, a column per method; inf: not reached, NaN: no such run."""
        part = self.frame[self.frame.task == task]
        steps = part.steps.where(part.reached, np.inf).where(part.status != "missing", np.nan)
        table = part.assign(steps=steps).pivot(index="seed", columns="method", values="steps")
        return table.reindex(index=list(self.spec.seeds), columns=list(self.spec.row_order))


def read_runs(results: Path, spec: ReportSpec) -> Runs:
    """Read and check all runs that a report is made of.

    Args:
        results: the run's directory, ``results/<run>``.
        spec: which tasks, methods and seeds belong to it.

    Returns:
        The runs; those without a folder are rows of status ``missing``.

    Raises:
        CorruptRunError: names every file that is damaged, incomplete or belongs elsewhere, with the reason.
    """
    rows, logs, nowcasts, info, jumps, around, faults = [], {}, {}, {}, {}, {}, []
    for task in spec.tasks:
        for method in spec.methods:
            for seed in spec.seeds if spec.plans(task.id, method.name) else ():
                key = Key(task.id, method.name, seed)
                folder = key.folder(results)
                if not (folder / "run.json").exists():
                    rows.append(_row(key, task, {"status": "missing", "reason": f"no {_name(folder)}/run.json"}))
                    continue
                try:
                    info[key] = read_info(folder, key)
                    logs[key] = read_log(folder / "log.csv", info[key])
                    nowcasts[key] = read_nowcasts(folder / "nowcasts.csv")
                    if (folder / "jumps.csv").exists():
                        jumps[key] = read_jumps(folder / "jumps.csv")
                    if (folder / "around.csv").exists():
                        around[key] = _read_table(folder / "around.csv", AROUND_COLUMNS)
                    check_agreement(folder, info[key], logs[key], task.target)
                    columns = {str(name): values for name, values in logs[key].items()}
                    level = steps_to_level(columns, task, spec.schedule)
                    rows.append(_row(key, task, info[key], level))
                except CorruptRunError as error:
                    faults.append(str(error))
    if faults:
        raise CorruptRunError("; ".join(faults) + ". Delete these runs' folders and evaluate them again.")
    data = {task.id: read_data_record(results, task.id) for task in spec.tasks}
    for folder in unplanned(results, spec):
        logger.warning("%s is not part of this report: its task, method or seed is not in the config", folder)
    present = {task: record for task, record in data.items() if record is not None}
    return Runs(spec, pd.DataFrame(rows), logs, nowcasts, info, present, jumps, around)


def read_info(folder: Path, key: Key) -> dict[str, Any]:
    """Read a run's ``run.json`` and hold it to the folder it lies in.

    Raises:
        CorruptRunError: for anything that is not a run's record, or the record of another run.
    """
    path = folder / "run.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CorruptRunError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(info, dict):
        raise CorruptRunError(f"{path}: holds a {type(info).__name__}, expected an object")
    if missing := [name for name in INFO_KEYS if name not in info]:
        raise CorruptRunError(f"{path}: lacks the entry {missing[0]!r}")
    if info["format"] != FORMAT:
        raise CorruptRunError(f"{path}: format {info['format']!r}, this version reads format {FORMAT}")
    if info["status"] not in STATUSES:
        raise CorruptRunError(f"{path}: status {info['status']!r}, allowed are {', '.join(STATUSES)}")
    for name in ("task", "method", "seed"):
        if info[name] != getattr(key, name):
            raise CorruptRunError(
                f"{path}: {name} {info[name]!r} in a folder of {name} {getattr(key, name)!r}: a copied or renamed run"
            )
    return info


def read_data_record(results: Path, task: str) -> dict[str, Any] | None:
    """What the data stage recorded of a task; None where it has not run.

    Raises:
        CorruptRunError: for a file that is no such record.
    """
    path = results / "data" / f"{task}.json"
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {"examples": dict(record["data"]["examples"]), "checksum": str(record["data"]["checksum"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptRunError(
            f"{path}: not a record of a task's data ({error!r}); delete it and write it again"
        ) from error


def read_log(path: Path, info: Mapping[str, Any]) -> pd.DataFrame:
    """Read a run's evaluations, sorted by step.

    Args:
        path: ``log.csv``.
        info: the run's record; a run that is ``done`` has a test metric in every row.

    Raises:
        CorruptRunError: for missing columns, text among numbers, steps that stand twice or lie beyond the run's end,
            and rows of a finished run that are cut off.
    """
    log = _read_table(path, LOG_COLUMNS)
    steps = log.step
    if len(log) and (steps.isna().any() or (steps != steps.round()).any() or steps.min() < 0):
        raise CorruptRunError(f"{path}: a step that is no whole number")
    if steps.duplicated().any():
        raise CorruptRunError(f"{path}: step {int(steps[steps.duplicated()].iloc[0])} stands there twice")
    if len(log) and steps.max() > info["steps"]:
        raise CorruptRunError(f"{path}: step {int(steps.max())} of a run of {info['steps']} steps")
    if info["status"] == "done":
        if log.empty:
            raise CorruptRunError(f"{path}: no evaluation, though the run is done")
        if log.test.isna().any():
            raise CorruptRunError(f"{path}: no test metric at step {int(steps[log.test.isna()].iloc[0])}")
    return log.astype({"step": np.int64}).sort_values("step", ignore_index=True)


def read_nowcasts(path: Path) -> pd.DataFrame:
    """Read a run's nowcasts, sorted by step; empty for a run without any.

    Raises:
        CorruptRunError: for missing columns, text among numbers or a step that stands twice.
    """
    table = _read_table(path, NOWCAST_COLUMNS)
    if table.step.duplicated().any():
        raise CorruptRunError(f"{path}: step {int(table.step[table.step.duplicated()].iloc[0])} stands there twice")
    return table.sort_values("step", ignore_index=True)


def read_jumps(path: Path) -> pd.DataFrame:
    """Read what a run's nowcasts did to each tensor, in the order of steps and parameters.

    Raises:
        CorruptRunError: for missing columns and text among numbers.
    """
    try:
        table = pd.read_csv(path)
        if tuple(table) != JUMP_COLUMNS:
            raise ValueError(f"has the columns {list(table)}, expected {list(JUMP_COLUMNS)}")
        return table.astype({name: float for name in JUMP_COLUMNS if name not in ("tensor", "kind")})
    except (OSError, ValueError) as error:
        raise CorruptRunError(f"{path}: {error}") from error


def check_agreement(folder: Path, info: Mapping[str, Any], log: pd.DataFrame, target: TargetSpec) -> None:
    """Hold a run's record to its own log: the step at target and the last metric must be those of the log.

    Raises:
        CorruptRunError: where they differ, as after a cut or edited log or a changed target.
    """
    values = log[target.split]
    hit = steps_to_target({"step": log.step, target.split: values}, target)
    if hit != info["step_at_target"]:
        raise CorruptRunError(
            f"{folder / 'log.csv'}: target {target.value:g} met at step {hit}, run.json says {info['step_at_target']}"
        )
    if info["status"] == "done" and not np.isclose(values.iloc[-1], info["final"], rtol=1e-6):
        raise CorruptRunError(
            f"{folder / 'log.csv'}: ends with {values.iloc[-1]:g}, run.json's final metric is {info['final']:g}: "
            "rows are missing"
        )


def unplanned(results: Path, spec: ReportSpec) -> list[Path]:
    """Folders of runs below ``results`` that no row of the report stands for."""
    planned = {
        Key(task.id, method.name, seed).folder(results)
        for method in spec.methods
        for task in spec.planned_tasks(method.name)
        for seed in spec.seeds
    }
    return sorted(path.parent for path in results.glob("evaluate/*/*/seed=*/run.json") if path.parent not in planned)


def _read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        return pd.DataFrame(read_table(path, columns))
    except (OSError, ValueError) as error:
        raise CorruptRunError(f"{path}: {error}") from error


def _row(key: Key, task: TaskSpec, info: Mapping[str, Any], level: int | None = None) -> dict[str, Any]:
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
        "steady_steps": np.nan if level is None else float(level),
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
