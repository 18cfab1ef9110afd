"""Table 2 and the summary: how many steps each method needs; nothing here depends on a machine's speed."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from nino.report.across_tasks import Summary, best_method, summarize
from nino.report.cells import NOT_PLANNED
from nino.report.columns import METHOD, TASK, Column, Row, fixed, flat, head, interval, lay_out, role, rounded, spread
from nino.report.comparisons import Comparison, comparisons, speedup_sample
from nino.report.formats import EMPTY, counted, number
from nino.report.origins import made_otherwise
from nino.report.published import Published, beside, published, published_name, published_speedup
from nino.report.rendering import Table
from nino.report.running_mean_notes import running_mean_notes
from nino.report.runs import Runs
from nino.report.statistics import mean_over_tasks, sample_mean, sample_std, smallest_n
from nino.specs import TaskSpec

BOUNDS = (
    "≥, ≤: at least, at most that, as the baseline, the method missed the target; ≈: neither is known, as both did."
)
PUBLISHED_BASELINE = "adam"


def table2(runs: Runs) -> Table:
    """Steps to target and speed-up of every method on every task, controls apart, published values beside ours."""
    compared = comparisons(runs)
    rows = [_comparison_row(runs, row) for row in compared]
    columns = (
        TASK,
        METHOD,
        Column("Steps to target", lambda row: _steps_text(runs, row), bold=itemgetter("best")),
        Column("Reached", _reached_text),
        Column("Speed-up, %", _speedup_text),
        interval(rows, runs.spec.confidence),
        Column("p", rounded("p_value", 2)),
        Column("p (Holm)", rounded("p_holm", 2)),
        Column("Running mean, steps", _steady_text),
        Column("Running mean, speed-up, %", lambda row: number(row["steady_speedup_percent"], 1, row["steady_bound"])),
        Column("Seeds both reached, speed-up, %", _reached_speedup_text),
        Column("Published steps", fixed("published_steps"), optional=True),
        Column("Published speed-up, %", fixed("published_speedup_percent", 1), optional=True),
        Column("Difference, pp (half-widths)", _difference_text, optional=True),
    )
    return lay_out(
        "table2",
        "Table 2: steps to target",
        columns,
        rows,
        group=lambda row: (row["task"], row["role"] == "control"),
        notes=table2_notes(runs, compared),
    )


def summary_table(runs: Runs) -> Table:
    """Every method over all tasks: mean, geometric mean, interquartile mean and probability of improvement."""
    first = best_method(runs)
    rows = [
        _summary_row(runs, summarize(runs, method)) | {"best": method == first}
        for method in runs.spec.row_order
        if method != runs.spec.baseline
    ]
    columns = (
        METHOD,
        Column("Tasks", lambda row: f"{row['tasks']}/{row['tasks_planned']}"),
        Column("Reached", lambda row: f"{row['runs_reached']}/{row['runs']}"),
        Column(
            "Mean speed-up, %",
            lambda row: number(row["speedup_percent"], 1, row["bound"]),
            bold=itemgetter("best"),
        ),
        interval(rows, runs.spec.confidence),
        Column("Seeds both reached, %", fixed("reached_speedup_percent", 1)),
        Column("Geometric mean, %", fixed("geometric_speedup_percent", 1)),
        Column("IQM, %", fixed("iqm_speedup_percent", 1)),
        Column("P(faster)", fixed("probability_of_improvement", 2)),
        Column("Published (nine tasks), %", fixed("published_speedup_percent", 1), optional=True),
    )
    return lay_out(
        "summary",
        "Summary: all tasks",
        columns,
        rows,
        group=lambda row: row["role"] == "control",
        notes=(
            "Mean speed-up: mean over tasks of 1 − mean steps / mean steps of the baseline, all seeds, a miss counting "
            f"with the step budget. {_between_note(rows, runs.spec.confidence, 'within tasks')} {BOUNDS}",
            "Seeds both reached: mean over tasks of the mean over the seeds that both the method and the baseline "
            "reached the target with, other seeds for each method. No source says how published means count misses.",
            "Geometric mean: of the step ratios. IQM: interquartile mean over all runs. Misses make bounds of both as "
            "of the mean speed-up. P(faster): share of seeds on which the method needs fewer steps than the baseline, "
            "ties half. Bold (*): best method over the tasks that all are planned on, of those with the most runs, by "
            "the seeds that they share.",
        ),
    )


def _between_note(rows: Sequence[Row], confidence: float, within: str) -> str:
    """What stands in the column of the intervals."""
    kinds = {row["interval_kind"] for row in rows}
    parts = []
    if "bootstrap" in kinds:
        parts.append(f"Interval: {100 * confidence:g} % bootstrap over seeds {within}.".replace(" .", "."))
    if "range" in kinds:
        parts.append("x to y: the range of two or three seeds, which is no interval at any level.")
    return " ".join(parts)


def table2_notes(runs: Runs, compared: Sequence[Comparison]) -> tuple[str, ...]:
    """What the signs in Table 2 mean."""
    spec, rows = runs.spec, [flat(row) for row in compared]
    base, tests = spec.label(spec.baseline), sum(np.isfinite(row.p_value) for row in compared)
    needed = smallest_n(spec.confidence, tests)
    notes = [
        "Mean ± sample standard deviation over all seeds that were run, a miss counting with the step budget: > where "
        f"one missed. Speed-up: 1 − mean steps / mean steps of {base} over the seeds that both were run with (same "
        f"initialisation, same batches). {_between_note(rows, spec.confidence, '')} {BOUNDS}",
        "Bold (*): fewest steps of a task's methods with the most seeds, controls apart. p: exact paired permutation "
        f"test; p (Holm): corrected for the {counted(tests, 'comparison')} with {base}. † not separated from {base}, ‡ "
        f"not separated from the best method (corrected alike; p > {1 - spec.confidence:.2g}).",
        "Seeds both reached: mean of 1 − steps / steps over the seeds that the method and the baseline reached the "
        "target with (how many), other seeds for each method: no ranking. No source says how published means count "
        "misses.",
        *running_mean_notes(runs),
    ]
    if tests and len(spec.seeds) < needed:
        notes.append(
            f"With {counted(len(spec.seeds), 'seed')} no difference can be separated: the exact test needs {needed} "
            f"for {counted(tests, 'comparison')}."
        )
    ended = runs.frame[~runs.frame.status.isin(["done", "missing"])]
    for row in ended.itertuples():
        notes.append(f"{row.task}, {spec.label(str(row.method))}, seed {row.seed}: {row.status} ({row.reason}).")
    missing = runs.frame[runs.frame.status == "missing"].groupby(["task", "method"], sort=False).seed
    gaps = [f"{task}, {spec.label(str(method))} ({', '.join(map(str, seeds))})" for (task, method), seeds in missing]
    return (*notes, *([f"Missing (seeds): {'; '.join(gaps)}."] if gaps else []), *made_otherwise(runs))


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


def _comparison_row(runs: Runs, compared: Comparison) -> dict[str, Any]:
    task, method = compared.task, compared.method
    steps, speedup = published_values(runs, runs.spec.task(task), method)
    difference, half_widths = beside(speedup, compared.speedup_percent, compared.interval.half_width)
    steady, (sample, sign) = (
        runs.counted_steps(task, "steady_steps"),
        speedup_sample(runs, task, method, "steady_steps"),
    )
    part = runs.part(task, method)
    return {
        **head(runs, task, method),
        **flat(compared),
        "steady_reached": int(part.steady_steps.notna().sum()),
        "steady_steps_mean": sample_mean(steady[method].dropna().to_numpy()),
        "steady_bound": sign,
        "steady_speedup_percent": mean_over_tasks({task: sample} if len(sample) else {}),
        "published_steps": steps.value if steps else np.nan,
        "published_speedup_percent": speedup.value if speedup else np.nan,
        "published_source": " ".join(steps.sources) if steps else None,
        "difference_points": difference,
        "difference_half_widths": half_widths,
        **{
            f"{name}_{kind}": value(part[name].dropna().to_numpy())
            for name in ("best", "final")
            for kind, value in (("mean", sample_mean), ("std", sample_std))
        },
    }


def _steps_text(runs: Runs, row: Row) -> str:
    if not row["seeds_run"]:
        return absent(runs, row["task"], row["method"])
    shown = spread("steps_mean", "steps_std")(row)
    return f"> {number(row['steps_mean'])}" if runs.missed(row["task"], row["method"]) else shown


def _steady_text(row: Row) -> str:
    """Mean steps until the running mean met the target, and the number of seeds that it did with."""
    if not row["seeds_run"]:
        return EMPTY
    missed = row["steady_reached"] < row["seeds_run"]
    return f"{number(row['steady_steps_mean'], 0, '>' if missed else '')} ({row['steady_reached']}/{row['seeds_run']})"


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
    return number(row["speedup_percent"], 1, row["bound"]) + (f" {marks}" if marks else "")


def _reached_speedup_text(row: Row) -> str:
    value = row["reached_speedup_percent"]
    return f"{number(value, 1)} ({row['reached_pairs']})" if row["reached_pairs"] else EMPTY


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
