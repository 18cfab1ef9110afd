"""Table 2 and the summary: how many steps each method needs; nothing here depends on a machine's speed."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import numpy as np

from nino.report.across_tasks import Summary, best_method, summarize
from nino.report.captions import smallest_n
from nino.report.cells import NOT_PLANNED
from nino.report.columns import (
    METHOD,
    TASK,
    Column,
    Row,
    fixed,
    flat,
    head,
    interval,
    lay_out,
    role,
    rounded,
    spread,
)
from nino.report.formats import EMPTY, counted, number
from nino.report.published import Published, beside, published, published_name, published_speedup
from nino.report.rendering import Table
from nino.report.runs import Runs
from nino.report.statistics import Comparison, best_of, comparisons, sample_mean, sample_std, separated_from
from nino.specs import TaskSpec

PUBLISHED_BASELINE = "adam"


def table2(runs: Runs) -> Table:
    """Steps to target and speed-up of every method on every task, controls apart, published values beside ours."""
    compared = comparisons(runs)
    best = {
        task.id: best_of([row for row in compared if row.task == task.id], runs.spec.contenders)
        for task in runs.spec.tasks
    }
    columns = (
        TASK,
        METHOD,
        Column("Steps to target", lambda row: _steps_text(runs, row)),
        Column("Reached", _reached_text),
        Column("Speed-up, %", _speedup_text, bold=itemgetter("best")),
        Column(f"{100 * runs.spec.confidence:g} % interval", interval()),
        Column("p", rounded("p_value", 2)),
        Column("Published steps", fixed("published_steps"), optional=True),
        Column("Published speed-up, %", fixed("published_speedup_percent", 1), optional=True),
        Column("Difference, pp (half-widths)", _difference_text, optional=True),
    )
    return lay_out(
        "table2",
        "Table 2: steps to target",
        columns,
        [_comparison_row(runs, row, best[row.task]) for row in compared],
        group=lambda row: (row["task"], row["role"] == "control"),
        notes=table2_notes(runs),
    )


def summary_table(runs: Runs) -> Table:
    """Every method over all tasks: mean, geometric mean, interquartile mean and probability of improvement."""
    first = best_method(runs)
    columns = (
        METHOD,
        Column("Tasks", lambda row: f"{row['tasks']}/{row['tasks_planned']}"),
        Column("Reached", lambda row: f"{row['runs_reached']}/{row['runs']}"),
        Column("Mean speed-up, %", fixed("speedup_percent", 1), bold=lambda row: row["method"] == first),
        Column(f"{100 * runs.spec.confidence:g} % interval", interval()),
        Column("Geometric mean, %", fixed("geometric_speedup_percent", 1)),
        Column("IQM, %", fixed("iqm_speedup_percent", 1)),
        Column("P(faster)", fixed("probability_of_improvement", 2)),
        Column("Published (nine tasks), %", fixed("published_speedup_percent", 1), optional=True),
    )
    return lay_out(
        "summary",
        "Summary: all tasks",
        columns,
        [_summary_row(runs, summarize(runs, m)) for m in runs.spec.row_order if m != runs.spec.baseline],
        hidden=("interval_kind",),
        group=lambda row: row["role"] == "control",
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


def published_values(runs: Runs, task: TaskSpec, method: str) -> tuple[Published | None, Published | None]:
    """Published steps and speed-up of a method on a task; None where the task was run with another target."""
    target = published("targets", task.id)
    if target is None or target.value != task.target.value:
        return None, None
    if method == runs.spec.baseline:
        return published("steps_to_target", PUBLISHED_BASELINE, task.id), None
    paper = published_name(method)
    return published("steps_to_target", paper, task.id), published_speedup(paper, task.id, PUBLISHED_BASELINE)


def absent(runs: Runs, task: str, method: str) -> str:
    """The text for a method without a run on a task: ``missing``, or ``n/a`` if none is planned."""
    return "missing" if runs.spec.plans(task, method) else NOT_PLANNED


def _comparison_row(runs: Runs, compared: Comparison, best: Comparison | None) -> dict[str, Any]:
    task, method = compared.task, compared.method
    behind: bool | None = None  # separated from the best method; asked of the other contenders only
    if best is not None and best.method != method and compared.pairs and method in runs.spec.contenders:
        behind = separated_from(runs, task, method, best.method)
    steps, speedup = published_values(runs, runs.spec.task(task), method)
    difference, half_widths = beside(speedup, compared.speedup_percent, compared.interval.half_width)
    part = runs.part(task, method)
    return {
        **head(runs, task, method),
        **flat(compared),
        "best": best is not None and best.method == method,
        "separated_from_best": behind,
        "published_steps": steps.value if steps else np.nan,
        "published_speedup_percent": speedup.value if speedup else np.nan,
        "published_source": " ".join(steps.sources) if steps else None,
        "difference_points": difference,
        "difference_half_widths": half_widths,
        **{
            f"{name}_{kind}": value(part[name].dropna().to_numpy())
            for name in ("best", "final", "steady_steps")
            for kind, value in (("mean", sample_mean), ("std", sample_std))
        },
        "steady_reached": int(part.steady_steps.notna().sum()),
    }


def _steps_text(runs: Runs, row: Row) -> str:
    if not row["seeds_run"]:
        return absent(runs, row["task"], row["method"])
    return spread("steps_mean", "steps_std")(row) if row["seeds_reached"] else "not reached"


def _reached_text(row: Row) -> str:
    """Seeds that reached the target, of how many that were run; then how many failed or are missing."""
    if not row["seeds_planned"]:
        return EMPTY
    gaps = {
        "diverged or failed": row["seeds_diverged_or_failed"],
        "missing": row["seeds_planned"] - row["seeds_run"],
    }
    extra = ", ".join(f"{count} {what}" for what, count in gaps.items() if count)
    return f"{row['seeds_reached']}/{row['seeds_run']}" + (f" ({extra})" if extra else "")


def _speedup_text(row: Row) -> str:
    marks = "†" if row["separated_from_baseline"] is False and row["pairs"] else ""
    marks += "‡" if row["separated_from_best"] is False else ""
    return spread("speedup_percent", "speedup_std", 1)(row) + (f" {marks}" if marks else "")


def _difference_text(row: Row) -> str:
    difference = number(row["difference_points"], 1)
    if np.isfinite(row["difference_half_widths"]):
        difference += f" ({number(row['difference_half_widths'], 1)})"
    return difference


def _summary_row(runs: Runs, summary: Summary) -> dict[str, Any]:
    same_tasks = all(published_values(runs, task, runs.spec.baseline)[0] for task in runs.spec.tasks)
    source = published("mean_speedup_percent", published_name(summary.method)) if same_tasks else None
    return {
        "method": summary.method,
        "label": runs.spec.label(summary.method),
        "role": role(runs, summary.method),
        **flat(summary),
        "published_speedup_percent": source.value if source else np.nan,
        "published_source": " ".join(source.sources) if source else None,
    }
