"""What the files of a run must say about each other: whatever follows from another file is worked out again.

Files that a run wrote always agree. Where two do not, one was cut, mixed up with another run's or edited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nino.evaluate.target import best_value, running_mean_score, seconds_to_target, steps_to_target
from nino.evaluate.target.running_mean import spacing, window
from nino.schedule import Schedule
from nino.specs import MethodSpec, ScheduleSpec, TaskSpec
from nino.specs.method_schedule import method_schedule
from nino.specs.methods import WITHOUT_NOWCASTS

Table = dict[str, NDArray[Any]]
LEARNING_RATE = "lr"
"""Last column of ``log.csv``, of runs whose learning rate moves."""
SECONDS = 2e-6
"""Seconds are written with six decimals, so that sums of two of them are off by less than this."""


def log_faults(log: Table, result: Mapping[str, Any], task: TaskSpec) -> Iterator[str]:
    """What is wrong with a log by itself, and beside the task's evaluation schedule.

    Args:
        log: of the run, sorted by step.
        result: the content of ``run.json``.
        task: what was trained.

    Yields:
        Sentences, the first of them the gravest.
    """
    steps, last, every = log["step"], result["steps"], task.evaluation
    if not (steps == np.round(steps)).all() or (steps < 0).any():
        yield "a step that is no whole number"
        return
    if (steps > last).any():
        yield f"step {steps.max():g} of a run of {last} steps"
        return
    if result["status"] == "done" and not len(steps):
        yield "no evaluation, though the run is done"
        return
    # a nowcast that follows its step's evaluation may still run out of memory
    over = {"diverged"} if every.at_nowcast == "before" else {"diverged", "failed"}
    if result["status"] in over and last in steps:
        yield f"an evaluation of the last step, {last}, though run.json says that the run {result['status']}"
    if result["status"] == "done" and np.isnan(log["test"]).any():
        yield f"no test metric at step {steps[np.isnan(log['test'])][0]:g}"
    if off := [step for step in steps if step % every.test_every and step != last]:
        yield f"step {off[0]:g}, though evaluations are every {every.test_every} steps"
    validated = (steps % every.validation_every == 0) | (steps == last)
    if (wrong := steps[np.isfinite(log["validation"]) & ~validated]).size:
        yield f"a validation metric at step {wrong[0]:g}, though there is one every {every.validation_every} steps"
    due = due_steps(task, int(last) if result["status"] == "done" else int(max(steps, default=0)))
    if missing := sorted(due - set(steps.tolist())):
        yield f"no evaluation at step {missing[0]:g}, of one every {spacing(task)} steps: rows are missing"
    hit = steps_to_target(log, task.target)
    if hit is not None and every.hardest_first and (more := sorted(set(steps[steps > hit].tolist()) - due - {last})):
        yield f"an evaluation at step {more[0]:g}, though after the first hit at step {hit} none is made between others"
    yield from _learning_rate_faults(log, result, task)
    for name in ("train_seconds", "evaluation_seconds", "nowcast_seconds"):
        if (np.diff(log[name]) < 0).any():
            yield f"{name} that decrease"


def _learning_rate_faults(log: Table, result: Mapping[str, Any], task: TaskSpec) -> Iterator[str]:
    """Where a log has another learning rate than that of the recipe of its run."""
    method = _recorded(result, "method", MethodSpec)
    recipe = task.recipe if method is None else method.recipe_of(task)
    if (LEARNING_RATE in log) != (recipe.schedule is not None) and len(log["step"]):
        yield f"{'a' if 'lr' in log else 'no'} learning rate, of a recipe with schedule {recipe.schedule}"
    for step, rate in zip(log["step"], log.get(LEARNING_RATE, ()), strict=False):
        if rate != (planned := recipe.learning_rate(int(step))):
            yield f"learning rate {float(rate)!r} at step {step:g}, the recipe's is {planned!r}"
            return


def result_faults(log: Table, result: Mapping[str, Any], task: TaskSpec) -> Iterator[str]:
    """Where ``run.json`` does not say what the log gives.

    Args:
        log: of the run, sorted by step, without faults of its own.
        result: the content of ``run.json``.
        task: what was trained.

    Yields:
        A sentence on each entry that differs. Entries that the record does not hold say nothing.
    """
    target, done = task.target, result["status"] == "done"
    hit = steps_to_target(log, target)
    if hit != result["step_at_target"]:
        yield f"target {target.value:g} met at step {hit}, run.json says {result['step_at_target']}"
    final = float(log[target.split][-1]) if len(log["step"]) else None
    expected: dict[str, Any] = {
        "steps": task.recipe.steps,
        "metric": target.metric,
        "higher_is_better": target.higher_is_better,
        "target": target.value,
        "split": target.split,
        "seconds_at_target": seconds_to_target(log, target),
        "best": best_value(log, target),
        "final": final if final is not None and np.isfinite(final) else None,
    }
    if done:
        expected["train_seconds"] = float(log["train_seconds"][-1])
    for name in ("evaluation_seconds", "nowcast_seconds") if done else ():
        # where the last step is measured before its nowcast, the nowcast's seconds come after the row
        longer = task.evaluation.at_nowcast == "before" and result.get(name, np.nan) > log[name][-1]
        expected |= {} if longer else {name: float(log[name][-1])}
    if (schedule := _recorded(result, "schedule", ScheduleSpec)) is not None:
        # earlier versions had windows of another length, and their score is of it
        if result.get("running_mean_window") == window(task, schedule):
            expected["step_at_target_running_mean"] = running_mean_score(log, task, schedule)
    for name, value in expected.items():
        if name in result and not _same(name, result[name], value):
            yield f"gives {name} {value!r}, run.json says {result[name]!r}"


def nowcast_faults(nowcasts: Table, jumps: Table | None, losses: Table | None, result: Mapping[str, Any]) -> list[str]:
    """Where the nowcasts of a run are not those of the schedule that it records.

    Args:
        nowcasts: of the run, sorted by step.
        jumps: what they did to each tensor, None where that was not recorded.
        losses: training losses near them, None where these were not recorded.
        result: the content of ``run.json``.

    Returns:
        Sentences, the first of them the gravest; none for a record that lacks the method or the schedule.
    """
    method, schedule = _recorded(result, "method", MethodSpec), _recorded(result, "schedule", ScheduleSpec)
    if method is None or schedule is None:
        return []
    if method.nowcaster in WITHOUT_NOWCASTS:
        return ["nowcasts of a method that makes none"] if len(nowcasts["step"]) else []
    steps = [int(step) for step in nowcasts["step"]]
    timing: Schedule = method_schedule(method, schedule, result["steps"])
    planned = list(timing.nowcasts(result["steps"]))
    if steps != (planned if result["status"] == "done" else planned[: len(steps)]):
        return [f"{len(steps)} nowcasts, of the {len(planned)} that the schedule asks for: rows are missing or others"]
    faults = []
    fixed = method.nowcaster in ("checkpoint", "metatrained") or ":" in method.nowcaster
    wrong = [s for s, k in zip(steps, nowcasts["k"], strict=True) if k != timing.horizon(s)]
    if wrong and not (fixed and len(set(nowcasts["k"])) == 1):  # weights may know one horizon alone, as WNN's do
        faults.append(f"the nowcast at step {wrong[0]} has another k than its schedule's, {timing.horizon(wrong[0])}")
    if (ahead := result.get("fork_steps")) is not None and ahead != timing.spacing * nowcasts["k"].sum():
        faults.append(f"gives fork_steps {timing.spacing * nowcasts['k'].sum():g}, run.json says {ahead}")
    spent = float(result.get("fork_seconds") or result.get("nowcast_seconds") or 0.0)
    if (total := nowcasts["seconds"].sum()) > spent + SECONDS * (len(steps) + 1):
        faults.append(f"{total:.6f} seconds of nowcasts, run.json says {spent:.6f} in all")
    accepted = {s for s, taken in zip(steps, nowcasts["accepted"], strict=True) if taken}
    rows = Counter(int(step) for step in jumps["step"]) if jumps is not None else Counter()
    # a run that an earlier version began has no rows of its first nowcasts
    if rows and not (set(rows) <= accepted and {s for s in accepted if s >= min(rows)} <= set(rows)):
        faults.append("jumps.csv has not the nowcasts that were accepted")
    if len(set(rows.values())) > 1:
        faults.append("jumps.csv has more rows of one nowcast than of another: rows are missing")
    if losses is not None and (strange := {int(step) for step in losses["step"]} - set(steps)):
        faults.append(f"around.csv has losses near step {min(strange)}, which was no nowcast")
    return faults


def due_steps(task: TaskSpec, last: int) -> set[int]:
    """The steps up to ``last`` that every run of a task has an evaluation of, the last one of all included."""
    due = set(range(spacing(task), last + 1, spacing(task)))
    return due | {task.recipe.steps} if last == task.recipe.steps else due


def _recorded(result: Mapping[str, Any], name: str, kind: Any) -> Any:
    """A spec that the run was made from; None in a record without it."""
    values = ((result.get("provenance") or {}).get("inputs") or {}).get(name)
    return None if values is None else kind.from_dict(values)


def _same(name: str, stated: Any, derived: Any) -> bool:
    if "seconds" in name and isinstance(stated, float) and isinstance(derived, float):
        return abs(stated - derived) <= SECONDS
    return bool(stated == derived)
