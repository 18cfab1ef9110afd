"""Statistics across tasks: means, robust means, probability of improvement and performance profiles.

Every task weighs the same. Intervals and bands resample seeds within tasks (a stratified bootstrap), all methods
together, because the methods of a seed share initialisation and batch order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from nino.report.runs import Runs
from nino.report.statistics import NO_INTERVAL, Interval, generator, sample_mean, speedups, stratified_interval

Steps = dict[str, np.ndarray]  # task -> (seeds, methods) steps to target; inf: missed, NaN: no run
PROFILE_RESAMPLES = 1000  # enough for a band that is only drawn


@dataclass(frozen=True)
class Summary:
    """A method over all tasks.

    Args:
        method: method name.
        tasks: tasks with at least one pair of the method and the baseline that both reached the target.
        tasks_planned: tasks in the config that the method is planned on.
        runs_reached: runs, over all tasks, that reached the target.
        runs: runs there are, over all tasks.
        speedup_percent: mean over tasks of the tasks' mean speed-ups, as published.
        interval: stratified bootstrap interval of it; none where a task has a single pair.
        geometric_speedup_percent: speed-up that belongs to the geometric mean over tasks of the step ratios.
        iqm_speedup_percent: interquartile mean over all runs of the speed-up, a miss being ``-inf``.
        probability_of_improvement: that the method needs fewer steps than the baseline on the same seed, ties half.
    """

    method: str
    tasks: int
    tasks_planned: int
    runs_reached: int
    runs: int
    speedup_percent: float
    interval: Interval
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
        planned: and that were planned.

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


def paired_gains(steps: np.ndarray) -> np.ndarray:
    """(seeds,) speed-ups in percent of column 1 against column 0; NaN where not both reached the target."""
    both = np.isfinite(steps).all(axis=1)
    gains = np.full(len(steps), np.nan)
    gains[both] = speedups(steps[:, 1], steps[:, 0])
    return gains


def mean_speedup(steps: Steps) -> float:
    """Mean over tasks of column 1's mean speed-up against column 0, in percent; tasks without a pair are left out."""
    means = [sample_mean(speedups(x[:, 1], x[:, 0])) for x in steps.values()]
    return sample_mean(np.array([mean for mean in means if np.isfinite(mean)]))


def geometric_speedup(steps: Steps) -> float:
    """``100 (1 - geometric mean of steps / baseline's steps)`` in percent: within a task first, then over tasks.

    >>> round(geometric_speedup({"a": np.array([[100.0, 50.0]]), "b": np.array([[100.0, 200.0]])}), 6)
    0.0
    """
    logs = []
    for x in steps.values():
        both = np.isfinite(x).all(axis=1)
        if both.any():
            logs.append(np.mean(np.log(np.maximum(x[both, 1], 1) / np.maximum(x[both, 0], 1))))
    return float(100 * (1 - np.exp(np.mean(logs)))) if logs else float("nan")


def interquartile_mean(steps: Steps) -> float:
    """Mean of the middle half of all runs' speed-ups in percent, column 1 against column 0.

    A seed that the method misses and the baseline reaches counts as ``-inf``: up to a quarter of them are trimmed away,
    more make the result ``-inf``. Seeds that the baseline misses have no speed-up and are left out.
    """
    values = []
    for x in steps.values():
        measured = np.isfinite(x[:, 0]) & ~np.isnan(x[:, 1])
        values.append(100 * (1 - x[measured, 1] / x[measured, 0]))
    joined = np.concatenate(values) if values else np.empty(0)
    return float(stats.trim_mean(joined, 0.25)) if len(joined) else float("nan")


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


def summarize(runs: Runs, method: str) -> Summary:
    """A method against the baseline over all tasks."""
    spec = runs.spec
    steps = task_steps(runs, (spec.baseline, method))
    part = runs.frame[runs.frame.method == method]
    gains = {task: paired_gains(x) for task, x in steps.items()}
    pairs = {task: int(np.isfinite(values).sum()) for task, values in gains.items()}
    paired = {task: values for task, values in gains.items() if pairs[task]}
    # A single pair is resampled to itself: the interval would ignore how much such a task varies.
    several = bool(paired) and min(pairs[task] for task in paired) > 1
    interval = stratified_interval(paired, spec.confidence, spec.resamples, generator(runs)) if several else NO_INTERVAL
    return Summary(
        method=method,
        tasks=len(paired),
        tasks_planned=len(spec.planned_tasks(method)),
        runs_reached=int(part.reached.sum()),
        runs=int((part.status != "missing").sum()),
        speedup_percent=mean_speedup(steps),
        interval=interval,
        geometric_speedup_percent=geometric_speedup(steps),
        iqm_speedup_percent=interquartile_mean(steps),
        probability_of_improvement=probability_of_improvement(steps),
    )


def common_tasks(runs: Runs) -> tuple[str, ...]:
    """The tasks that all contenders with a run are planned on."""
    there = set(runs.frame.method[runs.frame.status != "missing"])
    competing = [method for method in runs.spec.contenders if method in there]
    return tuple(t.id for t in runs.spec.tasks if all(runs.spec.plans(t.id, method) for method in competing))


def best_method(runs: Runs) -> str | None:
    """The best contender: the largest share of its runs reached the target, then the largest mean speed-up.

    Only tasks that all contenders are planned on count, so that none gains by easier or fewer tasks; if they share
    none, each is ranked on its own tasks.

    Returns:
        Its name; None where no method has a speed-up.
    """
    shared = common_tasks(runs)
    ranks = {}
    for method in runs.spec.contenders:
        tasks = shared or tuple(task.id for task in runs.spec.planned_tasks(method))
        part = runs.frame[
            (runs.frame.method == method) & runs.frame.task.isin(tasks) & (runs.frame.status != "missing")
        ]
        steps = task_steps(runs, (runs.spec.baseline, method))
        mean = mean_speedup({task: steps[task] for task in tasks})
        if np.isfinite(mean):
            ranks[method] = (float(part.reached.mean()), mean)
    return max(ranks, key=lambda method: ranks[method], default=None)


def profile(runs: Runs, methods: tuple[str, ...], taus: np.ndarray | None = None) -> Profile:
    """The performance profile of some methods, with a stratified bootstrap band.

    Args:
        runs: all runs.
        methods: who competes; the fastest of them on a (task, seed) sets ratio 1. Leave an oracle out. A method
            without any run is left out; a seed counts once all the others have a run of it.
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
    rng, tail = generator(runs), (1 - runs.spec.confidence) / 2
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
