"""Tables 1 and 2: what was run, and how many steps each method needs; nothing here depends on a machine's speed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nino.report.across import Summary, best_method, summarize
from nino.report.captions import counted, smallest_n
from nino.report.published import Published, published, published_name, published_speedup
from nino.report.runs import Runs
from nino.report.statistics import Comparison, Interval, best_of, comparisons, sample_mean, sample_std, separated_from
from nino.report.table import EMPTY, Table, mean_std, number, once, significant, text_frame
from nino.specs import TaskSpec

PUBLISHED_BASELINE = "adam"
NOT_PLANNED = "n/a"


def table2(runs: Runs) -> Table:
    """Steps to target and speed-up of every method on every task, controls apart, published values beside ours."""
    spec = runs.spec
    compared = comparisons(runs)
    best = {task.id: best_of([row for row in compared if row.task == task.id], spec.contenders) for task in spec.tasks}
    rows, text, bold, rules = [], [], set(), []
    for i, row in enumerate(compared):
        first = best[row.task]
        is_best = first is not None and first.method == row.method
        behind: bool | None = None  # separated from the best; only asked of those that compete with it
        if first is not None and not is_best and row.pairs and row.method in spec.contenders:
            behind = separated_from(runs, row.task, row.method, first.method)
        rows.append(_table2_data(runs, row, is_best, behind))
        text.append(_table2_text(runs, row, rows[-1]))
        if is_best:
            bold.add((i, "Speed-up, %"))
        if i and (row.method == spec.baseline or row.method == next(iter(spec.controls), None)):
            rules.append(i)
    frame = text_frame(text, optional=["Published steps", "Published speed-up, %", "Difference, pp (half-widths)"])
    frame["Task"] = once(frame["Task"])
    return Table(
        name="table2",
        title="Table 2: steps to target",
        data=pd.DataFrame(rows),
        text=frame,
        bold=frozenset(bold),
        rules=tuple(rules),
        notes=table2_notes(runs),
    )


def summary_table(runs: Runs) -> Table:
    """Every method over all tasks: mean, geometric mean, interquartile mean and probability of improvement."""
    spec = runs.spec
    summaries = [summarize(runs, method) for method in spec.row_order if method != spec.baseline]
    data = [_summary_data(runs, summary) for summary in summaries]
    text = [_summary_text(runs, summary, row) for summary, row in zip(summaries, data, strict=True)]
    first = best_method(runs)
    best = next((i for i, summary in enumerate(summaries) if summary.method == first), None)
    rules = (len(spec.contenders),) if spec.controls and spec.contenders else ()
    return Table(
        name="summary",
        title="Summary: all tasks",
        data=pd.DataFrame(data),
        text=text_frame(text, optional=["Published (nine tasks), %"]),
        bold=frozenset() if best is None else frozenset({(best, "Mean speed-up, %")}),
        rules=rules,
        notes=(
            "Mean speed-up: mean over tasks of the tasks' means, as published, with a bootstrap interval that "
            "resamples seeds within tasks; only seeds that both the method and the baseline reached the target with.",
            "Geometric mean: of the step ratios. IQM: interquartile mean over all runs, a miss counting as −∞. "
            "P(faster): share of seeds on which the method needs fewer steps than the baseline, ties half.",
        ),
    )


def table2_notes(runs: Runs) -> tuple[str, ...]:
    """What the signs in Table 2 mean."""
    spec = runs.spec
    base, level = spec.label(spec.baseline), f"{100 * spec.confidence:g} %"
    notes = [
        "Mean ± sample standard deviation over the seeds that reached the target. Speed-up: 1 − steps / steps of "
        f"{base}, paired by seed (same initialisation, same batches). Interval: {level} bootstrap over seeds.",
        f"Bold (*): best method of a task, controls apart. † not separated from {base}, ‡ not separated from the best "
        f"method (exact paired permutation test, p > {1 - spec.confidence:.2g}; a miss counts with the step budget).",
    ]
    if len(spec.seeds) <= 3:
        notes.append(
            "[ ] of two or three seeds is their range, which covers less than the level says; one seed has no interval."
        )
    if len(spec.seeds) < smallest_n(spec.confidence):
        notes.append(
            f"With {counted(len(spec.seeds), 'seed')} no difference can be separated: the exact test needs "
            f"{smallest_n(spec.confidence)}."
        )
    ended = runs.frame[~runs.frame.status.isin(["done", "missing"])]
    for row in ended.itertuples():
        notes.append(f"{row.task}, {spec.label(str(row.method))}, seed {row.seed}: {row.status} ({row.reason}).")
    missing = runs.frame[runs.frame.status == "missing"].groupby(["task", "method"], sort=False).seed
    gaps = [f"{task}, {spec.label(str(method))} ({', '.join(map(str, seeds))})" for (task, method), seeds in missing]
    return (*notes, f"Missing (seeds): {'; '.join(gaps)}.") if gaps else tuple(notes)


def reached_text(row: Comparison) -> str:
    """Seeds that reached the target / seeds run, and what is missing from the plan."""
    gaps = [(row.diverged, "diverged or failed"), (row.planned - row.run, "missing")]
    extra = ", ".join(f"{n} {what}" for n, what in gaps if n)
    return f"{row.reached}/{row.run}" + (f" ({extra})" if extra else "")


def interval_text(interval: Interval, digits: int = 1) -> str:
    """An interval in brackets; a dash where there is none."""
    if interval.kind == "none":
        return EMPTY
    return f"[{number(interval.low, digits)}, {number(interval.high, digits)}]"


def published_values(runs: Runs, task: TaskSpec, method: str) -> tuple[Published | None, Published | None]:
    """Published steps and speed-up of a method on a task; None where the task was run with another target."""
    target = published("targets", task.id)
    if target is None or target.value != task.target.value:
        return None, None
    if method == runs.spec.baseline:
        return published("steps_to_target", PUBLISHED_BASELINE, task.id), None
    paper = published_name(method)
    return published("steps_to_target", paper, task.id), published_speedup(paper, task.id, PUBLISHED_BASELINE)


def _table2_data(runs: Runs, row: Comparison, is_best: bool, behind: bool | None) -> dict[str, Any]:
    spec = runs.spec
    steps, speedup = published_values(runs, spec.task(row.task), row.method)
    difference = row.speedup_mean - speedup.value if speedup else np.nan
    half_width = row.interval.half_width
    part = runs.frame[(runs.frame.task == row.task) & (runs.frame.method == row.method)]
    spread = {
        f"{name}_{kind}": value(part[name].dropna().to_numpy())
        for name in ("best", "final", "steady_steps")
        for kind, value in (("mean", sample_mean), ("std", sample_std))
    }
    return {
        "task": row.task,
        "method": row.method,
        "label": spec.label(row.method),
        "role": role(runs, row.method),
        "seeds_planned": row.planned,
        "seeds_run": row.run,
        "seeds_reached": row.reached,
        "seeds_diverged_or_failed": row.diverged,
        "steps_mean": row.steps_mean,
        "steps_std": row.steps_std,
        "pairs": row.pairs,
        "speedup_percent": row.speedup_mean,
        "speedup_std": row.speedup_std,
        "interval_low": row.interval.low,
        "interval_high": row.interval.high,
        "interval_kind": row.interval.kind,
        "p_value": row.p_value,
        "separated_from_baseline": row.separated if np.isfinite(row.p_value) else None,
        "best": is_best,
        "separated_from_best": behind,
        "published_steps": steps.value if steps else np.nan,
        "published_speedup_percent": speedup.value if speedup else np.nan,
        "published_source": " ".join(steps.sources) if steps else None,
        "difference_points": difference,
        "difference_half_widths": difference / half_width if half_width > 0 else np.nan,
        **spread,
        "steady_reached": int(part.steady_steps.notna().sum()),
    }


def _table2_text(runs: Runs, row: Comparison, data: dict[str, Any]) -> dict[str, str]:
    label = data["label"] + (" (control)" if data["role"] == "control" else "")
    if not row.run:
        steps = absent(runs, row.task, row.method)
    else:
        steps = mean_std(row.steps_mean, row.steps_std) if row.reached else "not reached"
    marks = ("†" if row.pairs and not row.separated else "") + ("‡" if data["separated_from_best"] is False else "")
    speedup = mean_std(row.speedup_mean, row.speedup_std, 1) + (f" {marks}" if marks else "")
    difference = number(data["difference_points"], 1)
    if np.isfinite(data["difference_half_widths"]):
        difference += f" ({number(data['difference_half_widths'], 1)})"
    return {
        "Task": row.task,
        "Method": label,
        "Steps to target": steps,
        "Reached": reached_text(row) if row.planned else EMPTY,
        "Speed-up, %": EMPTY if row.method == runs.spec.baseline else speedup,
        f"{100 * runs.spec.confidence:g} % interval": interval_text(row.interval),
        "p": significant(row.p_value, 2),
        "Published steps": number(data["published_steps"]),
        "Published speed-up, %": number(data["published_speedup_percent"], 1),
        "Difference, pp (half-widths)": difference,
    }


def _summary_data(runs: Runs, summary: Summary) -> dict[str, Any]:
    same_tasks = all(published_values(runs, task, runs.spec.baseline)[0] for task in runs.spec.tasks)
    source = published("mean_speedup_percent", published_name(summary.method)) if same_tasks else None
    return {
        "method": summary.method,
        "label": runs.spec.label(summary.method),
        "role": role(runs, summary.method),
        "tasks": summary.tasks,
        "tasks_planned": summary.tasks_planned,
        "runs_reached": summary.reached,
        "runs": summary.run,
        "speedup_percent": summary.mean,
        "interval_low": summary.interval.low,
        "interval_high": summary.interval.high,
        "geometric_speedup_percent": summary.geometric,
        "iqm_speedup_percent": summary.iqm,
        "probability_of_improvement": summary.improvement,
        "published_speedup_percent": source.value if source else np.nan,
        "published_source": " ".join(source.sources) if source else None,
    }


def _summary_text(runs: Runs, summary: Summary, data: dict[str, Any]) -> dict[str, str]:
    return {
        "Method": data["label"] + (" (control)" if data["role"] == "control" else ""),
        "Tasks": f"{summary.tasks}/{summary.tasks_planned}",
        "Reached": f"{summary.reached}/{summary.run}",
        "Mean speed-up, %": number(summary.mean, 1),
        f"{100 * runs.spec.confidence:g} % interval": interval_text(summary.interval),
        "Geometric mean, %": number(summary.geometric, 1),
        "IQM, %": number(summary.iqm, 1),
        "P(faster)": number(summary.improvement, 2),
        "Published (nine tasks), %": number(data["published_speedup_percent"], 1),
    }


def absent(runs: Runs, task: str, method: str) -> str:
    """What stands in place of numbers where a method has no run on a task: ``missing``, ``n/a`` if none is planned."""
    return "missing" if runs.spec.plans(task, method) else NOT_PLANNED


def role(runs: Runs, method: str) -> str:
    """``baseline``, ``method`` or ``control``."""
    if method == runs.spec.baseline:
        return "baseline"
    return "control" if method in runs.spec.controls else "method"
