"""Tables beside Table 2: where runs stand at fixed steps, what each nowcast did to the loss, and what it all cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from nino.report.level import level_notes
from nino.report.progress import value_at, worth_at
from nino.report.runs import Key, Runs
from nino.report.statistics import (
    generator,
    mean_interval,
    sample_mean,
    sample_std,
    speedups,
)
from nino.report.table import EMPTY, Table, mean_std, number, once, significant, text_frame
from nino.report.tables import absent, interval_text, role
from nino.report.task_table import METRIC_UNITS
from nino.specs import TaskSpec

FRACTIONS = (0.25, 0.5, 0.75, 1.0)
SPEED = ("machine", "cpu", "cores", "threads", "gpus")  # the hardware that decides how long a step takes


def fixed_step_table(runs: Runs) -> Table:
    """The metric at a quarter, half, three quarters and all of the steps, whatever the target is.

    The last column does not hang on a target either: the baseline's step that first was as good as the method at half
    of its steps (seed by seed, median).
    """
    spec = runs.spec
    rows: list[dict[str, Any]] = []
    text: list[dict[str, str]] = []
    rules = []
    for task in spec.tasks:
        for method in spec.row_order:
            cells = []
            for fraction in FRACTIONS:
                row = _at_step(runs, task, method, round(fraction * task.recipe.steps))
                rows.append(row)
                cells.append(mean_std(row["mean"], row["std"], 2) if row["seeds"] else EMPTY)
            if not runs.keys(task.id, method):
                cells[0] = absent(runs, task.id, method)
            if method == spec.baseline and text:
                rules.append(len(text))
            unit = METRIC_UNITS.get(task.target.metric, "")
            text.append(
                {
                    "Task": f"{task.id} ({task.target.metric}{', ' + unit if unit else ''})",
                    "Method": _label(runs, method),
                    **{f"{100 * f:g} % of steps": cell for f, cell in zip(FRACTIONS, cells, strict=True)},
                    "Best": _best_text(runs, task, method),
                    "Running mean at target": _steady_text(runs, task, method),
                    "Half the steps are worth": _worth_text(runs, task, method),
                }
            )
    frame = text_frame(text)
    frame["Task"] = once(frame["Task"])
    base = spec.label(spec.baseline)
    return Table(
        name="fixed_steps",
        title="Metric at fixed steps",
        data=pd.DataFrame(rows),
        text=frame,
        rules=tuple(rules),
        notes=(
            "Mean ± sample standard deviation over seeds of the last evaluation up to that step. Best: of all of them.",
            *level_notes(runs),
            f"Half the steps are worth: the step at which {base} was first as good as the method had been within half "
            "of its steps, median over seeds; > where it never was.",
        ),
    )


def nowcast_table(runs: Runs) -> Table:
    """The loss right before and after each nowcast: does a jump help at once, or does it spike first?"""
    spec = runs.spec
    rows: list[dict[str, Any]] = []
    text: list[dict[str, str]] = []
    rules = []
    for task in spec.tasks:
        started = len(text)
        for method in spec.row_order:
            known = [runs.nowcasts[key] for key in runs.keys(task.id, method)]
            if not any(len(table) for table in known):
                continue
            jumps = pd.concat([table for table in known if len(table)], ignore_index=True)
            steps = [_nowcast_row(task.id, method, step, part) for step, part in jumps.groupby("step")]
            rows += steps
            text.append(
                {
                    "Task": task.id,
                    "Method": _label(runs, method),
                    "Nowcasts": f"{len(jumps)}",
                    "Accepted": f"{int(jumps.accepted.sum())}",
                    "Loss lowered": f"{100 * (jumps.loss_after < jumps.loss_before).mean():.0f} %",
                    "First: k": f"{steps[0]['k']:.0f}",
                    "Loss before → after": _change_text(steps[0]),
                    "Last: k": f"{steps[-1]['k']:.0f}",
                    "Loss before → after ": _change_text(steps[-1]),
                }
            )
        if started and len(text) > started:
            rules.append(started)
    columns = ["task", "method", "step", "k", "seeds", "accepted", "norm", "loss_before", "loss_after", "lowered"]
    frame = text_frame(text) if text else pd.DataFrame({"Task": [], "Method": [], "Nowcasts": []}, dtype=object)
    frame["Task"] = once(frame["Task"])
    return Table(
        name="nowcasts",
        title="Loss before and after nowcasts",
        data=pd.DataFrame(rows, columns=columns),
        text=frame,
        rules=tuple(rules),
        notes=("Training loss on the next batch, right before and right after the jump; means over seeds.",),
    )


def timing_table(runs: Runs) -> Table:
    """Seconds, and what nowcasting adds to them. They belong to the machine that the runs were made on."""
    spec = runs.spec
    rows: list[dict[str, Any]] = []
    text: list[dict[str, str]] = []
    rules = []
    for task in spec.tasks:
        for method in spec.row_order:
            row = _timing_row(runs, task, method)
            rows.append(row)
            if method == spec.baseline and text:
                rules.append(len(text))
            text.append(
                {
                    "Task": task.id,
                    "Method": _label(runs, method),
                    "Training, s": mean_std(row["train_seconds"], row["train_seconds_std"], 1)
                    if row["run"]
                    else absent(runs, task.id, method),
                    "Evaluation, s": number(row["evaluation_seconds"], 1),
                    "Nowcasts, s": number(row["nowcast_seconds"], 2),
                    "Per nowcast, s": significant(row["seconds_per_nowcast"]),
                    "Overhead, %": number(row["overhead_percent"], 2),
                    "Seconds to target": mean_std(row["seconds_to_target"], row["seconds_to_target_std"], 1),
                    "Time saved, %": number(row["time_saved_percent"], 1),
                    f"{100 * spec.confidence:g} % interval": interval_text(row["interval"]),
                    "Peak memory, MB": number(row["peak_memory_bytes"] / 1e6),
                }
            )
    frame = text_frame(text)
    frame["Task"] = once(frame["Task"])
    return Table(
        name="timing",
        title="Time and memory",
        data=pd.DataFrame(rows).drop(columns=["interval", "run"]),
        text=frame,
        rules=tuple(rules),
        notes=(
            "Means over the seeds whose run finished. Seconds to target count training and nowcasts, not evaluation; "
            "time saved is paired by seed, pairs that were not run on the same machine left out.",
            "Seconds differ between machines and between two runs on one machine; Tables 1 and 2 do not.",
        ),
    )


def same_machine(runs: Runs, task: str, method: str, seed: int) -> bool:
    """Whether a run and the baseline's of its seed ran on the same hardware, alone or in equally large company."""
    mine, base = (runs.info.get(Key(task, name, seed)) for name in (method, runs.spec.baseline))
    return mine is not None and base is not None and _place(mine) == _place(base)


def _place(info: Mapping[str, Any]) -> tuple[Any, ...]:
    """What seconds depend on: the hardware as far as a run's record names it, and how many runs shared the steps."""
    hardware = (info.get("provenance") or {}).get("hardware") or {}
    return (info.get("members_at_once", 1), *(hardware.get(name) for name in SPEED))


def _at_step(runs: Runs, task: TaskSpec, method: str, step: int) -> dict[str, Any]:
    values = [value_at(runs.logs[key], step, task.target.split) for key in runs.keys(task.id, method)]
    known = np.array([value for value in values if np.isfinite(value)])
    return {
        "task": task.id,
        "method": method,
        "step": step,
        "seeds": len(known),
        "mean": sample_mean(known),
        "std": sample_std(known),
    }


def _best_text(runs: Runs, task: TaskSpec, method: str) -> str:
    best = _part(runs, task, method).best.dropna().to_numpy()
    return mean_std(sample_mean(best), sample_std(best), 2)


def _steady_text(runs: Runs, task: TaskSpec, method: str) -> str:
    """Mean step at which the running mean met the target, and with how many of the seeds that were run."""
    part = _part(runs, task, method)
    steps, run = part.steady_steps.dropna().to_numpy(), int((part.status != "missing").sum())
    return f"{mean_std(sample_mean(steps), sample_std(steps))} ({len(steps)}/{run})" if run else EMPTY


def _part(runs: Runs, task: TaskSpec, method: str) -> pd.DataFrame:
    return runs.frame[(runs.frame.task == task.id) & (runs.frame.method == method)]


def _worth_text(runs: Runs, task: TaskSpec, method: str) -> str:
    steps = worth_at(runs, task, method, task.recipe.steps / 2)
    return f"> {task.recipe.steps}" if np.isinf(steps) else number(steps)


def _nowcast_row(task: str, method: str, step: Any, part: pd.DataFrame) -> dict[str, Any]:
    return {
        "task": task,
        "method": method,
        "step": int(step),
        "k": part.k.mean(),
        "seeds": len(part),
        "accepted": int(part.accepted.sum()),
        "norm": part.norm.mean(),
        "loss_before": part.loss_before.mean(),
        "loss_after": part.loss_after.mean(),
        "lowered": int((part.loss_after < part.loss_before).sum()),
    }


def _change_text(row: dict[str, Any]) -> str:
    return f"{significant(row['loss_before'])} → {significant(row['loss_after'])}"


def _timing_row(runs: Runs, task: TaskSpec, method: str) -> dict[str, Any]:
    frame = runs.frame[(runs.frame.task == task.id) & (runs.frame.status != "missing")].set_index("seed")
    mine, base = frame[frame.method == method], frame[frame.method == runs.spec.baseline]
    done = mine[mine.status == "done"]
    jumps = sum(len(runs.nowcasts[key]) for key in runs.keys(task.id, method))
    total = float(mine.nowcast_seconds.sum())
    is_base = method == runs.spec.baseline
    base_seconds = base.seconds.reindex(mine.index).to_numpy()
    alike = np.array([same_machine(runs, task.id, method, int(seed)) for seed in mine.index], dtype=bool)
    base_seconds = np.where(alike, base_seconds, np.nan)
    saved = np.empty(0) if is_base else speedups(mine.seconds.to_numpy(), base_seconds)
    hits = mine.seconds.dropna().to_numpy()
    interval = mean_interval(saved, runs.spec.confidence, runs.spec.resamples, generator(runs))
    train = done.train_seconds.dropna().to_numpy()
    train_sum = float(mine.train_seconds.sum())
    return {
        "task": task.id,
        "method": method,
        "role": role(runs, method),
        "seeds": len(done),
        "run": len(mine),
        "train_seconds": sample_mean(train),
        "train_seconds_std": sample_std(train),
        "evaluation_seconds": sample_mean(done.evaluation_seconds.dropna().to_numpy()),
        "nowcast_seconds": sample_mean(done.nowcast_seconds.dropna().to_numpy()),
        "nowcasts": jumps,
        "seconds_per_nowcast": total / jumps if jumps else np.nan,
        "overhead_percent": 100 * total / train_sum if train_sum else np.nan,
        "seconds_to_target": sample_mean(hits),
        "seconds_to_target_std": sample_std(hits),
        "time_saved_percent": sample_mean(saved),
        "pairs_of_two_machines": 0 if is_base else int(np.count_nonzero(~alike)),
        "interval": interval,
        "interval_low": interval.low,
        "interval_high": interval.high,
        "peak_memory_bytes": float(mine.peak_memory_bytes.max()) if len(mine) else np.nan,
    }


def _label(runs: Runs, method: str) -> str:
    return runs.spec.label(method) + (" (control)" if role(runs, method) == "control" else "")
