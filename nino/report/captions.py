"""Sentences on what tables and figures show, computed from their numbers so that they cannot contradict them."""

from __future__ import annotations

import numpy as np

from nino.report.across_tasks import Profile, Summary, best_method, common_tasks, summarize
from nino.report.comparisons import compare, comparisons, contest, speedup_sample
from nino.report.formats import counted, fewer_steps, percent
from nino.report.progress import worth_at
from nino.report.runs import Runs
from nino.report.statistics import smallest_n
from nino.specs import ReportSpec, TaskSpec


def headline(runs: Runs) -> tuple[str, ...]:
    """What the comparison of all tasks found: the best method, how sure that is, where the controls lie, what ran."""
    spec, sentences = runs.spec, _lead(runs)
    controls = [summarize(runs, method) for method in spec.controls]
    means = [
        f"{spec.label(c.method)} {percent(c.speedup_percent, c.bound)}"
        for c in controls
        if np.isfinite(c.speedup_percent)
    ]
    if means and runs.frame.reached.any():
        sentences.append(f"Controls: {'; '.join(means)}.")
    sentences.append(ran_sentence(runs))
    gaps = runs.frame[runs.frame.status != "done"]
    if len(gaps):
        counts = gaps.status.value_counts()
        sentences.append("Not all runs finished: " + ", ".join(f"{n} {s}" for s, n in sorted(counts.items())) + ".")
    return tuple(sentences)


def _lead(runs: Runs) -> list[str]:
    """The best method and how sure that is; all methods where none is the best; why there is nothing to compare."""
    spec = runs.spec
    summaries = [summarize(runs, method) for method in spec.contenders]
    compared = [summary for summary in summaries if np.isfinite(summary.speedup_percent)]
    base = spec.label(spec.baseline)
    if not spec.contenders:
        return ["No method was compared with the baseline."]
    if not any(summary.runs for summary in summaries):
        return [f"There is no run of {'; '.join(spec.label(method) for method in spec.contenders)}."]
    if not compared:
        return [f"No seed was run both with {base} and with another method: there is no speed-up to give."]
    if not runs.frame.reached.any():
        return ["No run reached the target: there is no speed-up to give."]
    name, shared = best_method(runs), common_tasks(runs)
    lead = [summary for summary in compared if summary.method == name] or compared
    sentences = [
        said for each in lead for said in (speedup_sentence(runs, each), separation_sentence(runs, each.method))
    ]
    if not shared:
        sentences.append("No task is planned for all methods: none is ranked.")
    elif len(shared) < len(spec.tasks) and name:
        sentences.append(f"It is the best on {', '.join(shared)}, which all methods are planned on.")
    unranked = [spec.label(s.method) for s in summaries if s.runs and s.method not in contest(runs, shared)]
    if shared and unranked:
        sentences.append(f"Not ranked, as runs are missing: {'; '.join(unranked)}.")
    return sentences


def ran_sentence(runs: Runs) -> str:
    """How many methods have a run of each task."""
    there = runs.frame[runs.frame.status != "missing"].groupby("task").method.nunique()
    tasks: dict[int, list[str]] = {}
    for task in runs.spec.tasks:
        tasks.setdefault(int(there.get(task.id, 0)), []).append(task.id)
    counts = [f"{counted(count, 'method')} on {', '.join(names)}" for count, names in tasks.items()]
    return f"There are runs of {'; '.join(counts)} (baseline and controls included)."


def speedup_sentence(runs: Runs, summary: Summary) -> str:
    """How often a method reached the target, and how many steps it took, misses counted."""
    spec, low, high = runs.spec, percent(summary.interval.low), percent(summary.interval.high)
    pairs = [len(speedup_sample(runs, task.id, summary.method)[0]) for task in spec.planned_tasks(summary.method)]
    several = summary.tasks > 1
    between = {
        "none": "",
        "range": f"; speed-up {low} to {high}, {'means of the lowest and highest seeds' if several else 'by seed'}",
        "bootstrap": f"; {100 * spec.confidence:g} % interval of the speed-up {low} to {high}",
    }[summary.interval.kind]
    of = f"mean over {counted(summary.tasks, 'task')}, " if several else ""
    return (
        f"{spec.label(summary.method)} reached the target in {summary.runs_reached} of {counted(summary.runs, 'run')} "
        f"and took {fewer_steps(summary.speedup_percent, spec.label(spec.baseline), summary.bound)} "
        f"({of}{counted(sum(pairs), 'pair')} of runs{between})."
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
    """Where the methods met a task's target, and which did not."""
    spec = runs.spec
    rows = [compare(runs, task, m) for m in (spec.baseline, *spec.contenders) if spec.plans(task, m)]
    met, never = [], []
    for row in rows:
        gone = f"{row.seeds_planned - row.seeds_run} missing" if row.seeds_run < row.seeds_planned else ""
        if row.seeds_reached:
            short = row.seeds_reached < row.seeds_planned
            share = f"{row.seeds_reached} of {counted(row.seeds_run, 'seed')}" if short else ""
            aside = ", ".join(filter(None, (share, gone)))
            at = f"at step {'> ' if runs.missed(task, row.method) else ''}{row.steps_mean:.0f}"
            met.append(f"{spec.label(row.method)} {at}" + f" ({aside})" * bool(aside))
        elif row.seeds_run:
            aside = ", ".join(filter(None, (counted(row.seeds_run, "seed"), gone)))
            never.append(f"{spec.label(row.method)} ({aside})")
    unrun = [spec.label(row.method) for row in rows if not row.seeds_run]
    sentences = [f"{task}: the target was met by {'; '.join(met)}."] if met else []
    sentences += [f"{task}: it was met by no run of {'; '.join(never)}."] if never else []
    sentences += [f"{task}: there is no run of {'; '.join(unrun)}."] if unrun else []
    if met:
        missed = any(runs.missed(task, row.method) for row in rows)
        counting = ", a miss counting with the step budget, which an open diamond marks" if missed else ""
        sentences.append(f"Means over all seeds that were run{counting}.")
    return " ".join(sentences)


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
    return f"{task.id}: {half} steps are worth {'; '.join(parts)}, in steps of {base} (median over seeds)."


def spikes_sentence(runs: Runs, method: str, task: str | None = None) -> str:
    """What a method's nowcasts did to the loss of the next batch; on one task also how far the first ones moved it."""
    nowcasts, label = runs.nowcasts_of(method, task), runs.spec.label(method)
    where = f"{task}: " if task else ""
    if nowcasts.empty:
        part = runs.frame[(runs.frame.method == method) & (runs.frame.task.isin([task]) | (task is None))]
        ran = (part.status != "missing").any()
        return f"{where}{label} made no nowcast." if ran else f"{where or 'All tasks: '}there is no run of {label}."
    lowered = int((nowcasts.loss_after < nowcasts.loss_before).sum())
    text = f"{where}{lowered} of {counted(len(nowcasts), 'nowcast')} of {label} lowered the loss of the next batch"
    if task is None and len(runs.spec.planned_tasks(method)) > 1:  # losses of several tasks have no mean
        return f"{text}."
    first = nowcasts[nowcasts.step == nowcasts.step.min()]
    return (
        f"{text}; the first ones (k = {first.k.mean():.0f}) took it from {first.loss_before.mean():.3g} to "
        f"{first.loss_after.mean():.3g}."
    )


def profile_sentence(runs: Runs, profile: Profile) -> str:
    """State how often the best method is the fastest, and how often it is within twice the fastest."""
    if not profile.rho:
        return "No seed has a run of every method yet."
    most = max(shares[0] for shares in profile.rho.values())
    two = int(np.searchsorted(profile.taus, min(2.0, float(profile.taus[-1]))))
    first = [method for method, shares in profile.rho.items() if shares[0] == most]
    within = " and ".join(f"{100 * profile.rho[method][two]:.0f} %" for method in first)
    names = " and ".join(runs.spec.label(method) for method in first)
    each = ("are each", "are") if len(first) > 1 else ("is", "is")
    sentence = (
        f"{names} {each[0]} the fastest of a seed in {100 * most:.0f} % of the runs and {each[1]} within twice the "
        f"fastest in {within}; runs that miss their target never count."
    )
    if not most:
        sentence = "No run of the compared methods met its target: none is the fastest."
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
