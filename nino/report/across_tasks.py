"""Statistics across tasks: means, robust means, probability of improvement and performance profiles.

Every task weighs the same. Intervals and bands resample seeds within tasks (a stratified bootstrap), all methods
together, because the methods of a seed share initialisation and batch order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from nino.report.comparisons import contest, reached_speedups, speedup_sample
from nino.report.runs import Runs, once
from nino.report.statistics import Interval, bound, estimate, generator, mean_over_tasks, sample_mean, saved

Steps = dict[str, np.ndarray]  # task -> (seeds, methods) steps to target; NaN: no run
PROFILE_RESAMPLES = 1000  # enough for a band that is only drawn


@dataclass(frozen=True)
class Summary:
    """A method over all tasks; a miss counts with the step budget, for the baseline as for the method.

    Args:
        method: method name.
        tasks: tasks with at least one seed that both the method and the baseline were run with.
        tasks_planned: tasks in the config that the method is planned on.
        runs_reached: runs, over all tasks, that reached the target.
        runs: runs there are, over all tasks.
        bound: how the mean bounds the one without misses, see `nino.report.statistics.bound`.
        speedup_percent: mean over tasks of the tasks' speed-ups, ``100 (1 - mean steps / the baseline's)``.
        interval: of it, see `nino.report.statistics.estimate`.
        reached_speedup_percent: mean over tasks of the mean over seeds that both reached the target with.
        geometric_speedup_percent: speed-up that belongs to the geometric mean over tasks of the step ratios.
        iqm_speedup_percent: interquartile mean over all runs of the speed-up.
        probability_of_improvement: that the method needs fewer steps than the baseline on the same seed, ties half.
    """

    method: str
    tasks: int
    tasks_planned: int
    runs_reached: int
    runs: int
    bound: str
    speedup_percent: float
    interval: Interval
    reached_speedup_percent: float
    geometric_speedup_percent: float
    iqm_speedup_percent: float
    probability_of_improvement: float


@dataclass(frozen=True)
class Profile:
    r"""A performance profile, ``rho(tau)`` = share of runs within ``tau`` times the steps of the seed's fastest method.

    Args:
        taus: (n,) ratios, from 1.
        rho: method -> (n,) shares in [0, 1].
        low: method -> (n,) lower end of the bootstrap band.
        high: method -> (n,) upper end.
        seeds: runs of each method that are compared, over all tasks.
        planned: runs of each method that are planned, over all tasks.

    Source: Dolan and More, "Benchmarking optimization software with performance profiles", 2002.
    """

    taus: np.ndarray
    rho: dict[str, np.ndarray]
    low: dict[str, np.ndarray]
    high: dict[str, np.ndarray]
    seeds: int
    planned: int


def task_steps(runs: Runs, methods: tuple[str, ...]) -> Steps:
    """Steps to target by task: (seeds, methods), inf where missed and NaN where there is no run."""
    return {task.id: runs.steps(task.id)[list(methods)].to_numpy() for task in runs.spec.tasks}


def geometric_speedup(steps: Steps) -> float:
    """``100 (1 - geometric mean of steps / baseline's steps)`` in percent: within a task first, then over tasks.

    >>> round(geometric_speedup({"a": np.array([[100.0, 50.0]]), "b": np.array([[100.0, 200.0]])}), 6)
    0.0
    """
    logs = []
    for x in steps.values():
        both = ~np.isnan(x).any(axis=1)
        if both.any():
            logs.append(np.mean(np.log(np.maximum(x[both, 1], 1) / np.maximum(x[both, 0], 1))))
    return float(100 * (1 - np.exp(np.mean(logs)))) if logs else float("nan")


def interquartile_mean(steps: Steps) -> float:
    """Mean of the middle half of all runs' speed-ups in percent, column 1 against column 0."""
    values = [100 * (1 - both[:, 1] / both[:, 0]) for x in steps.values() if len(both := x[~np.isnan(x).any(axis=1)])]
    return float(stats.trim_mean(np.concatenate(values), 0.25)) if values else float("nan")


def probability_of_improvement(steps: Steps) -> float:
    """Mean over tasks of the share of seeds on which column 1 needs fewer steps than column 0; a tie counts half.

    Two misses are a tie; a miss loses to any number of steps.

    >>> probability_of_improvement({"a": np.array([[100.0, 50.0], [np.inf, np.inf], [100.0, np.inf]])})
    0.5
    """
    shares = []
    for x in steps.values():
        measured = ~np.isnan(x).any(axis=1)
        if measured.any():
            base, mine = x[measured, 0], x[measured, 1]
            shares.append(np.mean((mine < base) + 0.5 * (mine == base)))
    return sample_mean(np.array(shares))


@once
def summarize(runs: Runs, method: str) -> Summary:
    """A method against the baseline over all tasks."""
    spec = runs.spec
    tasks = spec.planned_tasks(method)
    samples = {task.id: speedup_sample(runs, task.id, method) for task in tasks}
    paired = {task: sample for task, (sample, _) in samples.items() if len(sample)}
    mean, interval = estimate(spec, paired)
    reached = [sample_mean(reached_speedups(runs, task.id, method).to_numpy()) for task in tasks]
    part = runs.frame[runs.frame.method == method]
    counted = {task: runs.counted_steps(task)[[spec.baseline, method]].to_numpy() for task in paired}
    return Summary(
        method=method,
        tasks=len(paired),
        tasks_planned=len(tasks),
        runs_reached=int(part.reached.sum()),
        runs=int((part.status != "missing").sum()),
        bound=bound(sign for _, sign in samples.values()),
        speedup_percent=mean,
        interval=interval,
        reached_speedup_percent=sample_mean(np.array([mean for mean in reached if np.isfinite(mean)])),
        geometric_speedup_percent=geometric_speedup(counted),
        iqm_speedup_percent=interquartile_mean(counted),
        probability_of_improvement=probability_of_improvement(task_steps(runs, (spec.baseline, method))),
    )


def common_tasks(runs: Runs) -> tuple[str, ...]:
    """The tasks that all contenders with a run are planned on."""
    there = set(runs.frame.method[runs.frame.status != "missing"])
    competing = [method for method in runs.spec.contenders if method in there]
    return tuple(t.id for t in runs.spec.tasks if all(runs.spec.plans(t.id, method) for method in competing))


def best_method(runs: Runs) -> str | None:
    """The contender with the largest mean speed-up over the tasks that all are planned on, misses at the budget.

    Only the contenders with the most runs on these tasks are ranked, on the seeds that all of them and the baseline
    have, so that none gains from easier or fewer tasks or seeds.

    Returns:
        Its name; None where they share no task, have no seed in common with the baseline, or reached no target on these
        seeds.
    """
    base, shared = runs.spec.baseline, common_tasks(runs)
    ranked = contest(runs, shared)
    samples: dict[str, dict[str, pd.DataFrame]] = {method: {} for method in ranked}
    hit: set[str] = set()
    for task in shared:
        steps = runs.counted_steps(task)[[base, *ranked]].dropna()
        for method in ranked if len(steps) else ():
            samples[method][task] = saved(steps[method], steps[base])
        counted = runs.steps(task).loc[steps.index]
        hit |= {method for method in ranked if np.isfinite(counted[method]).any()}
    means = {m: mean_over_tasks(by_task) for m, by_task in samples.items() if by_task and m in hit}
    return max(means, key=lambda method: means[method], default=None)


def profile(runs: Runs, methods: tuple[str, ...], taus: np.ndarray | None = None) -> Profile:
    """The performance profile of some methods, with a stratified bootstrap band.

    Args:
        runs: all runs.
        methods: who competes; the fastest of them on a (task, seed) sets ratio 1. Leave an oracle out. A method
            without any run is left out, and so is a seed for which one of the others has no run.
        taus: ratios; default 301 from 1 to 4.
    """
    taus = np.linspace(1, 4, 301) if taus is None else taus
    there = set(runs.frame.method[runs.frame.status != "missing"])
    methods = tuple(method for method in methods if method in there)
    steps = task_steps(runs, methods)
    planned = sum(len(x) for x in steps.values())
    steps = {task: run for task, x in steps.items() if len(run := x[~np.isnan(x).any(axis=1)])}
    if not methods or not steps:
        return Profile(taus, {}, {}, {}, 0, planned)
    ratios = {task: step_ratios(x) for task, x in steps.items()}
    rng, tail = generator(runs.spec), (1 - runs.spec.confidence) / 2
    drawn = np.stack([_shares(_resample(ratios, rng), taus) for _ in range(PROFILE_RESAMPLES)])
    bands = (_shares(ratios, taus), *np.quantile(drawn, [tail, 1 - tail], axis=0))
    rho, low, high = (dict(zip(methods, band, strict=True)) for band in bands)
    return Profile(taus, rho, low, high, sum(len(x) for x in steps.values()), planned)


def step_ratios(steps: np.ndarray) -> np.ndarray:
    """Steps divided by those of the fastest method of the seed; a miss is inf, also where every method misses.

    Args:
        steps: (seeds, methods); inf where missed.

    >>> step_ratios(np.array([[100.0, 50.0, np.inf], [np.inf, np.inf, np.inf]]))
    array([[ 2.,  1., inf],
           [inf, inf, inf]])
    """
    counts = np.maximum(steps, 1)
    best = counts.min(axis=1, keepdims=True)
    ratios = np.full_like(counts, np.inf)
    np.divide(counts, best, out=ratios, where=np.isfinite(counts))
    return ratios


def _shares(ratios: Steps, taus: np.ndarray) -> np.ndarray:
    """(methods, taus) share of seeds within each ratio, mean over tasks."""
    # (seeds, methods, 1) against (taus,); a rounding error must not put a ratio above its own tau
    within = [(x[:, :, None] <= taus * (1 + 1e-12)).mean(axis=0) for x in ratios.values()]
    return np.asarray(np.mean(within, axis=0))


def _resample(values: Steps, rng: np.random.Generator) -> Steps:
    return {task: x[rng.integers(len(x), size=len(x))] for task, x in values.items()}
