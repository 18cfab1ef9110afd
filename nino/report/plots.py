"""Figures of the runs: training curves, the value of a step, a profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from nino.drawing import COLUMN, DARK, PAGE, Look, grid_shape, legend_below, looks, new_figure, panel_grid
from nino.report.across_tasks import Profile
from nino.report.comparisons import compare
from nino.report.progress import median_worth
from nino.report.runs import Runs
from nino.specs import ReportSpec, TaskSpec

AXIS_START = 0.1  # the axis of a training curve fits the baseline from this share of the steps on
MOST_CURVES = 4  # methods in one panel
WILD = 3.0  # where lower is better, this many times the baseline's is cut off instead of squeezing everything else


def curves_figure(runs: Runs, task: TaskSpec) -> Figure:
    """The metric over steps: mean and range over seeds, nowcasts as dots, the target, and where it was reached."""
    spec = runs.spec
    others = [m for m in (*spec.contenders, *spec.controls) if not seed_curves(runs, task, m).empty]

    def draw(axes: Axes, methods: list[str]) -> None:
        _draw_curves(axes, runs, task, methods)

    title = titled(runs, task, without_run(runs, task), _out_of_sight(runs, task))
    return _together_or_apart(spec, others, draw, title, "step")


def _together_or_apart(
    spec: ReportSpec, methods: list[str], draw: Callable[[Axes, list[str]], None], title: str, xlabel: str
) -> Figure:
    """Draw methods and the baseline in one panel; with more than four contenders, each method in a panel of its own.

    That many curves in one panel could not be told apart. The baseline is drawn in every panel.
    """
    if len(set(methods) & set(spec.contenders)) <= MOST_CURVES:
        figure = new_figure(COLUMN, 3.0)
        axes = figure.add_subplot()
        draw(axes, [method for method, _ in _bottom_up(spec) if method in (*methods, spec.baseline)])
        axes.set(xlabel=xlabel, title=title)
        _legend_below(figure, axes, spec)
        return figure
    rows, columns = grid_shape(len(methods))
    figure = new_figure(PAGE, 0.5 + 1.7 * rows)
    panels = panel_grid(figure, (rows, columns), len(methods), xlabel)
    for axes, method in zip(panels, methods, strict=False):
        draw(axes, [spec.baseline, method])
        axes.set_title(spec.label(method))
        if axes not in panels[::columns]:
            axes.set_ylabel("")
    figure.suptitle("; ".join(filter(None, (title, f"{spec.label(spec.baseline)} black"))), fontsize=8)
    return figure


def _draw_curves(axes: Axes, runs: Runs, task: TaskSpec, methods: list[str]) -> None:
    """Draw curves, nowcasts and a diamond at the mean steps, open where a run missed: it then stands too far left."""
    every = looks(runs.spec)
    for method in methods:
        look, curves = every[method], seed_curves(runs, task, method)
        if curves.empty:
            continue
        mean = curves.mean(axis=1)
        axes.plot(mean.index, mean, label=runs.spec.label(method), **look.line())
        if look.control:
            continue
        axes.fill_between(
            mean.index, curves.min(axis=1), curves.max(axis=1), color=look.colour, alpha=0.18, linewidth=0
        )
        jumps = nowcast_steps(runs, task, method)
        shown = mean.reindex(jumps, method="nearest") if len(jumps) else mean.iloc[:0]
        marks: dict[str, Any] = {"color": look.colour, "mec": "white", "zorder": 3}  # above every curve
        axes.plot(shown.index, shown, "o", markersize=2.8, mew=0.4, **marks)
        row = compare(runs, task.id, method)
        if runs.missed(task.id, method):
            marks |= {"mfc": "white", "mec": look.colour}
        if row.seeds_reached:
            axes.plot(row.steps_mean, task.target.value, "D", markersize=5, mew=0.8, clip_on=False, **marks)
    axes.axhline(task.target.value, color=DARK, linewidth=0.8, linestyle=(0, (2, 2)))
    _metric_axis(axes, runs, task)
    axes.set_xlim(0, task.recipe.steps)


def titled(runs: Runs, task: TaskSpec, without: list[str], beyond: Sequence[str] = ()) -> str:
    """The title of a task's figure: its id, and the methods that are not shown, or lie beyond the axes."""
    names = {"nothing to show of": without, "beyond the axis:": beyond}
    asides = [f"{words} {', '.join(map(runs.spec.label, methods))}" for words, methods in names.items() if methods]
    return f"{task.id} ({'; '.join(asides)})" if asides else task.id


def _out_of_sight(runs: Runs, task: TaskSpec) -> list[str]:
    """The methods whose curve lies beyond the axis all through the second half of the steps."""
    if (limits := _metric_limits(runs, task)) is None:
        return []
    late = {method: _mean_from(runs, task, method, 0.5) for method in runs.spec.row_order}
    low, high = limits
    return [method for method, mean in late.items() if len(mean) and not ((low <= mean) & (mean <= high)).any()]


def without_run(runs: Runs, task: TaskSpec) -> list[str]:
    """The planned methods that have no run with an evaluation."""
    return [m for m in runs.spec.row_order if runs.spec.plans(task.id, m) and not runs.keys(task.id, m)]


def worth_figure(runs: Runs, task: TaskSpec) -> Figure:
    """At each step of a method, the baseline's step that first was as good; above the diagonal a step is worth more."""
    spec, total = runs.spec, task.recipe.steps
    base = spec.label(spec.baseline)
    medians = {method: median_worth(runs, task, method) for method in (*spec.contenders, *spec.controls)}

    def draw(axes: Axes, methods: list[str]) -> None:
        axes.plot([0, total], [0, total], label=base, **looks(spec)[spec.baseline].line())
        for method in methods:
            if method == spec.baseline:
                continue
            look, median = looks(spec)[method], medians[method].dropna()
            finite = median[np.isfinite(median)]  # where it is inf, most seeds are better than the baseline ever was
            axes.plot(finite.index, finite, label=spec.label(method), **look.line())
            if len(finite) < len(median) and len(finite):
                axes.plot(finite.index[-1], finite.iloc[-1], "^", color=look.colour, markersize=4, clip_on=False)
        axes.set(ylabel=f"step at which {base}\nwas first as good", xlim=(0, total), ylim=(0, total))

    shown = [method for method, median in medians.items() if len(median)]
    return _together_or_apart(spec, shown, draw, titled(runs, task, without_run(runs, task)), "step")


def profile_figure(runs: Runs, shown: Profile) -> Figure:
    """Share of runs within a ratio of the fastest method's steps, with a bootstrap band."""
    spec = runs.spec

    def draw(axes: Axes, methods: list[str]) -> None:
        for method in (m for m in methods if m in shown.rho):
            look = looks(spec)[method]
            axes.step(shown.taus, 100 * shown.rho[method], where="post", label=spec.label(method), **look.line())
            if not look.control:
                low, high = 100 * shown.low[method], 100 * shown.high[method]
                axes.fill_between(shown.taus, low, high, step="post", color=look.colour, alpha=0.15, linewidth=0)
        axes.set(
            ylabel="runs that reached\nthe target, %", xlim=(float(shown.taus[0]), float(shown.taus[-1])), ylim=(0, 103)
        )

    others = [method for method in (*spec.contenders, *spec.controls) if method in shown.rho]
    xlabel = r"steps / the seed's fastest, $\tau$"
    return _together_or_apart(spec, others, draw, _left_out(spec, shown), xlabel)


def _left_out(spec: ReportSpec, shown: Profile) -> str:
    names = [spec.label(method) for method in spec.row_order if method not in shown.rho]
    return f"not compared: {', '.join(names)}" if names else ""


def seed_curves(runs: Runs, task: TaskSpec, method: str) -> pd.DataFrame:
    """The metric of a method on the target's split: a row per step, a column per seed with a run.

    Rows that a ``hardest_first`` evaluation adds are left out: each belongs to a single seed, at a peak of its metric.
    """
    series = {key.seed: runs.grid(key).set_index("step")[task.target.split] for key in runs.keys(task.id, method)}
    return pd.DataFrame(series).sort_index().replace([np.inf, -np.inf], np.nan)


def nowcast_steps(runs: Runs, task: TaskSpec, method: str) -> np.ndarray:
    """Steps at which any seed of a method made a nowcast."""
    nowcasts = runs.nowcasts_of(method, task.id)
    return np.empty(0) if nowcasts.empty else np.unique(nowcasts.step)


def _bottom_up(spec: ReportSpec) -> list[tuple[str, Look]]:
    """Methods in drawing order: controls below, contenders on top."""
    every = looks(spec)
    return [(method, every[method]) for method in (*spec.controls, spec.baseline, *spec.contenders)]


def _metric_axis(axes: Axes, runs: Runs, task: TaskSpec) -> None:
    """Label the metric's axis, logarithmic where lower is better and all of it positive; let what matters fill it."""
    target = task.target
    axes.set_ylabel(f"{target.split} {target.title}" + (f", {target.unit}" if target.unit else ""))
    if (limits := _metric_limits(runs, task)) is None:
        return
    if not target.higher_is_better and limits[0] > 0:
        axes.set_yscale("log")
    axes.set_ylim(*limits)
    if axes.get_yscale() == "log":
        plain_log(axes)


def _metric_limits(runs: Runs, task: TaskSpec) -> tuple[float, float] | None:
    """The ends of the metric's axis; None without a value.

    The baseline's values after its first steps and the contenders' in the second half set its range. Controls extend
    it only if they are better, as the oracle is: one that diverges is cut off, and so are spikes after nowcasts.
    """
    target = task.target
    base = _mean_from(runs, task, runs.spec.baseline, AXIS_START)
    others = [_mean_from(runs, task, method, 0.5) for method in runs.spec.contenders]
    values = np.concatenate([base, *others])
    if not len(values):
        return None
    controls = np.concatenate([values, *(_mean_from(runs, task, method, 0.5) for method in runs.spec.controls)])
    values = np.append(values, controls.max() if target.higher_is_better else controls.min())
    low, high = min(values.min(), target.value), max(values.max(), target.value)
    if target.higher_is_better or low <= 0:
        margin = 0.05 * (high - low) or 1.0
        return low - margin, min(high + margin, 100.5) if target.unit == "%" else high + margin
    return low / 1.05, min(high, WILD * max([*base, target.value])) * 1.05


def _mean_from(runs: Runs, task: TaskSpec, method: str, share: float) -> np.ndarray:
    """The finite means over seeds of a method's metric after a share of the steps, without those at nowcasts."""
    curves = seed_curves(runs, task, method)
    if curves.empty:
        return np.empty(0)
    shown = (curves.index >= share * task.recipe.steps) & ~curves.index.isin(nowcast_steps(runs, task, method))
    late = curves[shown].mean(axis=1).to_numpy()
    return np.asarray(late[np.isfinite(late)])


def plain_log(axes: Axes) -> None:
    """Plain numbers on a logarithmic axis, also where it spans less than a decade."""
    low, high = axes.get_ylim()
    if high / low < 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0) if high / low < 20 else (1.0, 3.0)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend_below(figure: Figure, axes: Axes, spec: ReportSpec) -> None:
    """One legend below the axes, in the tables' order."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    labels = [spec.label(method) for method in spec.row_order if spec.label(method) in handles]
    legend_below(figure, [handles[label] for label in labels], labels, columnspacing=1.2)
