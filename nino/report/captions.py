"""Sentences on what tables and figures show, computed from their numbers so that they cannot contradict them."""

from __future__ import annotations

import numpy as np

from nino.report.across_tasks import Profile, Summary, best_method, common_tasks, summarize
from nino.report.comparisons import compare, comparisons
from nino.report.formats import counted, fewer_steps, percent
from nino.report.progress import worth_at
from nino.report.runs import Runs
from nino.report.statistics import smallest_n
from nino.specs import ReportSpec, TaskSpec


def headline(runs: Runs) -> tuple[str, ...]:
    """What the comparison of all tasks found: the best method, how sure that is, and where the controls lie."""
    spec = runs.spec
    summaries = [summarize(runs, method) for method in spec.contenders]
    compared = [summary for summary in summaries if np.isfinite(summary.speedup_percent)]
    base = spec.label(spec.baseline)
    if not spec.contenders:
        return ("No method was compared with the baseline.",)
    if not any(summary.runs for summary in summaries):
        return (f"There is no run of {', '.join(spec.label(method) for method in spec.contenders)}.",)
    if not compared:
        return (f"No seed was run both with {base} and with another method: there is no speed-up to give.",)
    if not runs.frame.reached.any():
        return ("No run reached the target: there is no speed-up to give.",)
    name, shared = best_method(runs), common_tasks(runs)
    lead = [summary for summary in compared if summary.method == name] or compared
    sentences = [sentence for summary in lead for sentence in _lead(runs, summary)]
    if not shared:
        sentences.append("No task is planned for all methods: none is ranked.")
    elif len(shared) < len(spec.tasks) and name:
        sentences.append(f"It is the best on {', '.join(shared)}, which all methods are planned on.")
    controls = [summarize(runs, method) for method in spec.controls]
    means = [
        f"{spec.label(c.method)} {percent(c.speedup_percent, c.bound)}"
        for c in controls
        if np.isfinite(c.speedup_percent)
    ]
    if means:
        sentences.append(f"Controls: {', '.join(means)}.")
    sentences.append(ran_sentence(runs))
    gaps = runs.frame[runs.frame.status != "done"]
    if len(gaps):
        counts = gaps.status.value_counts()
        sentences.append("Not all runs are there: " + ", ".join(f"{n} {s}" for s, n in sorted(counts.items())) + ".")
    return tuple(sentences)


def ran_sentence(runs: Runs) -> str:
    """How many methods have a run of each task."""
    there = runs.frame[runs.frame.status != "missing"].groupby("task").method.nunique()
    tasks: dict[int, list[str]] = {}
    for task in runs.spec.tasks:
        tasks.setdefault(int(there.get(task.id, 0)), []).append(task.id)
    counts = [f"{counted(count, 'method')} on {', '.join(names)}" for count, names in tasks.items()]
    return f"There are runs of {'; '.join(counts)} (baseline and controls included)."


def _lead(runs: Runs, summary: Summary) -> tuple[str, str]:
    return speedup_sentence(runs, summary), separation_sentence(runs, summary.method)


def speedup_sentence(runs: Runs, summary: Summary) -> str:
    """How often a method reached the target, and how many steps it took, all seeds counted."""
    spec, low, high = runs.spec, percent(summary.interval.low), percent(summary.interval.high)
    between = {
        "none": "",
        "range": f", range of its seeds {low} to {high}",
        "bootstrap": f", {100 * spec.confidence:g} % interval {low} to {high}",
    }[summary.interval.kind]
    of = f"mean over {counted(summary.tasks, 'task')}" if summary.tasks > 1 else "all seeds"
    return (
        f"{spec.label(summary.method)} reached the target in {summary.runs_reached} of {summary.runs} runs and took "
        f"{fewer_steps(summary.speedup_percent, summary.bound)} than {spec.label(spec.baseline)} ({of}{between})."
    )


def separation_sentence(runs: Runs, method: str) -> str:
    """On how many tasks the paired test separates a method from the baseline, corrected for Table 2's comparisons."""
    spec, rows = runs.spec, comparisons(runs)
    tests = sum(np.isfinite(row.p_value) for row in rows)
    mine = [row for row in rows if row.method == method and spec.plans(row.task, method)]
    sentence = (
        f"The exact paired test separates it from {spec.label(spec.baseline)} on "
        f"{sum(bool(row.separated_from_baseline) for row in mine)} of {counted(len(mine), 'task')}"
    )
    if tests > 1:
        sentence += f", corrected for {tests} comparisons (Holm)"
    needed, most = smallest_n(spec.confidence, tests), max(row.pairs for row in mine)
    if most < needed:
        return f"{sentence}; with {counted(most, 'seed')} it cannot: it needs {needed}."
    return sentence + "."


def curves_sentence(runs: Runs, task: str) -> str:
    """Where the methods reached a task's target."""
    spec = runs.spec
    parts = []
    for method in (m for m in (spec.baseline, *spec.contenders) if spec.plans(task, m)):
        row = compare(runs, task, method)
        if not row.seeds_run:
            parts.append(f"{spec.label(method)} has no run")
        elif row.seeds_reached:
            missed = row.seeds_reached < row.seeds_run
            share = f" ({row.seeds_reached} of {row.seeds_run} seeds)" if missed else ""
            parts.append(f"{spec.label(method)} at step {'> ' if missed else ''}{row.steps_mean:.0f}{share}")
        else:
            parts.append(f"{spec.label(method)} never")
    return (
        f"{task}: the target was reached by {', '.join(parts)} (mean over all seeds, a miss counting with the step "
        "budget, an open diamond there)."
    )


def worth_sentence(runs: Runs, task: TaskSpec) -> str:
    """What half of a task's steps are worth with each contender, in steps of the baseline."""
    spec = runs.spec
    half = round(task.recipe.steps / 2)
    base = spec.label(spec.baseline)
    parts = []
    for method in spec.contenders:
        steps = worth_at(runs, task, method, half)
        if not np.isnan(steps):
            amount = f"more than {task.recipe.steps}" if np.isinf(steps) else f"{steps:.0f}"
            parts.append(f"{amount} with {spec.label(method)}")
    if not parts:
        return f"{task.id}: no run of another method can be compared with {base}."
    return f"{task.id}: {half} steps are worth {', '.join(parts)} in steps of {base} (median over seeds)."


def spikes_sentence(runs: Runs, method: str, task: str | None = None) -> str:
    """What a method's nowcasts did to the loss of the next batch, on one task or on all."""
    nowcasts, label = runs.nowcasts_of(method, task), runs.spec.label(method)
    where = f"{task}: " if task else ""
    if nowcasts.empty:
        return f"{where}{label} made no nowcast."
    lowered = int((nowcasts.loss_after < nowcasts.loss_before).sum())
    first = nowcasts[nowcasts.step == nowcasts.step.min()]
    return (
        f"{where}{lowered} of {len(nowcasts)} nowcasts of {label} lowered the loss of the next batch; the first ones "
        f"(k = {first.k.mean():.0f}) took it from {first.loss_before.mean():.3g} to {first.loss_after.mean():.3g}."
    )


def profile_sentence(runs: Runs, profile: Profile) -> str:
    """State how often the best method is the fastest, and how often it is within twice the fastest."""
    if not profile.rho:
        return "No seed has a run of every method yet."
    ranked = sorted(profile.rho, key=lambda method: -profile.rho[method][0])
    best = ranked[0]
    within = profile.rho[best][int(np.searchsorted(profile.taus, min(2.0, float(profile.taus[-1]))))]
    sentence = (
        f"{runs.spec.label(best)} is the fastest of a seed in {100 * profile.rho[best][0]:.0f} % of the runs and "
        f"within twice the fastest in {100 * within:.0f} %; runs that miss their target never count."
    )
    if profile.seeds < profile.planned:
        sentence += f" Of {profile.planned} planned seeds it shows the {profile.seeds} that every method has a run of."
    return sentence + "".join(
        f" {runs.spec.label(method)} is planned on some tasks only and left out."
        for method in runs.spec.contenders
        if method not in runs.spec.realizable
    )


def plan_notes(spec: ReportSpec) -> tuple[str, ...]:
    """Which methods are planned on some tasks only, and the remarks on the tasks."""
    partly = (
        f"n/a: {spec.label(method)} is planned on {', '.join(task.id for task in spec.planned_tasks(method))} only."
        for method in spec.row_order
        if method in spec.only
    )
    return (*partly, *spec.remarks())
