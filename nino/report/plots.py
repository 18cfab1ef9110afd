"""Figures of the runs: training curves, the value of a step, losses around nowcasts, a profile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from nino.drawing import BLUE, COLUMN, DARK, PAGE, RED, Look, grid_shape, legend_below, looks, new_figure, panel_grid
from nino.report.across_tasks import Profile
from nino.report.comparisons import compare
from nino.report.losses_near_nowcasts import losses_panel, relative_losses
from nino.report.progress import worth
from nino.report.runs import Runs
from nino.specs import ReportSpec, TaskSpec

AXIS_START = 0.1  # the axis of a training curve fits the baseline from this share of the steps on
MOST_CURVES = 4  # methods in one panel
WILD = 3.0  # where lower is better, this many times the baseline's is cut off instead of squeezing everything else


def curves_figure(runs: Runs, task: TaskSpec) -> Figure:
    """The metric over steps: mean and range over seeds, nowcasts as dots, the target, and where it was reached.

    More than four methods stand in a panel each, beside the baseline: one above the other they could not be told apart.
    """
    spec = runs.spec
    others = [m for m in (*spec.contenders, *spec.controls) if not seed_curves(runs, task, m).empty]
    apart = len(set(others) & set(spec.contenders)) > MOST_CURVES
    if not apart:
        figure = new_figure(COLUMN, 3.0)
        axes = figure.add_subplot()
        _draw_curves(axes, runs, task, [method for method, _ in _bottom_up(spec)])
        axes.set(xlabel="step", title=titled(runs, task, _without_run(runs, task)))
        _legend_below(figure, axes, spec)
        return figure
    rows, columns = grid_shape(len(others))
    figure = new_figure(PAGE, 0.5 + 1.7 * rows)
    panels = panel_grid(figure, (rows, columns), len(others), "step")
    for axes, method in zip(panels, others, strict=False):
        _draw_curves(axes, runs, task, [spec.baseline, method])
        axes.set_title(spec.label(method))
        if axes not in panels[::columns]:
            axes.set_ylabel("")
    title = f"{titled(runs, task, _without_run(runs, task))}; {spec.label(spec.baseline)} black"
    figure.suptitle(title, fontsize=8)
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
        if row.seeds_reached < row.seeds_run:
            marks |= {"mfc": "white", "mec": look.colour}
        if row.seeds_reached:
            axes.plot(row.steps_mean, task.target.value, "D", markersize=5, mew=0.8, **marks)
    axes.axhline(task.target.value, color=DARK, linewidth=0.8, linestyle=(0, (2, 2)))
    _metric_axis(axes, runs, task)
    axes.set_xlim(0, task.recipe.steps)


def titled(runs: Runs, task: TaskSpec, without: list[str]) -> str:
    """The title of a task's figure: its id, and the methods that are not shown."""
    names = ", ".join(runs.spec.label(method) for method in without)
    return f"{task.id} (nothing to show of {names})" if names else task.id


def _without_run(runs: Runs, task: TaskSpec) -> list[str]:
    """The planned methods that have no run with an evaluation."""
    return [m for m in runs.spec.row_order if runs.spec.plans(task.id, m) and not runs.keys(task.id, m)]


def worth_figure(runs: Runs, task: TaskSpec) -> Figure:
    """At each step of a method, the baseline's step that first was as good; above the diagonal a step is worth more."""
    spec = runs.spec
    total = task.recipe.steps
    figure = new_figure(COLUMN, 3.0)
    axes = figure.add_subplot()
    axes.plot([0, total], [0, total], label=spec.label(spec.baseline), **looks(spec)[spec.baseline].line())
    for method, look in _bottom_up(spec):
        table = pd.DataFrame() if method == spec.baseline else worth(runs, task, method)
        if table.empty:
            continue
        # Where most seeds are better than the baseline ever was, the median is inf: it has left the axis.
        median = table.fillna(np.inf).median(axis=1) if table.isna().any(axis=None) else table.median(axis=1)
        finite = median[np.isfinite(median)]
        axes.plot(finite.index, finite, label=spec.label(method), **look.line())
        if len(finite) < len(median) and len(finite):
            axes.plot(finite.index[-1], finite.iloc[-1], "^", color=look.colour, markersize=4, clip_on=False)
    axes.set(
        xlabel="step",
        ylabel=f"step at which {spec.label(spec.baseline)}\nwas first as good",
        xlim=(0, total),
        ylim=(0, total),
        title=titled(runs, task, _without_run(runs, task)),
    )
    _legend_below(figure, axes, spec)
    return figure


def spikes_figure(runs: Runs, task: TaskSpec) -> Figure:
    """Loss of the next batch before (open) and after (filled) each nowcast, a panel per method; means over seeds.

    Below, where runs recorded them, the losses of the steps around nowcasts, relative to those before.
    """
    spec = runs.spec
    methods = [m for m in (*spec.contenders, *spec.controls) if len(nowcast_steps(runs, task, m))]
    shape = rows, columns = grid_shape(len(methods))
    losses = {m: table for m in methods if len(table := relative_losses(runs, task.id, m))}
    width, height = COLUMN if columns == 1 else PAGE, 0.5 + 1.6 * rows
    whole = new_figure(width, height * (2 if losses else 1))
    figure: Figure | SubFigure = whole
    if losses:
        halves = whole.add_gridspec(2, 1)
        figure = whole.add_subfigure(halves[0])
        _losses_panels(whole.add_subfigure(halves[1]), runs, losses, shape)
    panels = panel_grid(figure, shape, len(methods), "step")
    for axes, method in zip(panels, methods, strict=False):
        mean = runs.nowcasts_of(method, task.id).groupby("step")[["loss_before", "loss_after"]].mean()
        look = looks(spec)[method]
        rises = mean.loss_after > mean.loss_before
        for worse, part in ((False, mean[~rises]), (True, mean[rises])):
            colour = RED if worse else BLUE
            axes.vlines(part.index, part.loss_before, part.loss_after, color=colour, linewidth=1.0)
            axes.plot(part.index, part.loss_after, "o", color=colour, label="rises" if worse else "falls")
        axes.plot(mean.index, mean.loss_before, "o", mfc="white", mec=DARK, mew=0.7, label="before")
        axes.set_title(spec.label(method) + (" (control)" if look.control else ""))
        axes.set_xlim(0, 1.04 * task.recipe.steps)
    if methods:
        _keep_in_sight(panels, methods, spec)
        _log_if_wide(panels[: len(methods)])
        handles = {}
        for axes in panels[: len(methods)]:
            handles.update(dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True)))
        order = [name for name in ("before", "falls", "rises") if name in handles]
        titles = {"before": "before the nowcast", "falls": "after: loss fell", "rises": "after: loss rose"}
        legend_below(figure, [handles[n] for n in order], [titles[n] for n in order])
    else:
        panels[0].set_xlabel("step")
        panels[0].text(0.5, 0.5, "no nowcasts", ha="center", va="center", transform=panels[0].transAxes)
    figure.supylabel("training loss", fontsize=8)
    whole.suptitle(titled(runs, task, _without_run(runs, task)), fontsize=8)
    return whole


def _losses_panels(
    figure: Figure | SubFigure, runs: Runs, losses: dict[str, pd.DataFrame], shape: tuple[int, int]
) -> None:
    panels = panel_grid(figure, shape, len(losses), "steps from the nowcast")
    for axes, (method, table) in zip(panels, losses.items(), strict=False):
        losses_panel(axes, table)
        axes.set_title(runs.spec.label(method))
    _keep_in_sight(panels, list(losses), runs.spec)
    _log_if_wide(panels[: len(losses)])
    figure.supylabel("training loss / before", fontsize=8)


def profile_figure(runs: Runs, shown: Profile) -> Figure:
    """Share of runs within a ratio of the fastest method's steps, with a bootstrap band."""
    spec = runs.spec
    figure = new_figure(COLUMN, 3.0)
    axes = figure.add_subplot()
    for method, look in _bottom_up(spec):
        if method not in shown.rho:
            continue
        axes.step(shown.taus, 100 * shown.rho[method], where="post", label=spec.label(method), **look.line())
        if not look.control:
            low, high = 100 * shown.low[method], 100 * shown.high[method]
            axes.fill_between(shown.taus, low, high, step="post", color=look.colour, alpha=0.15, linewidth=0)
    axes.set(
        xlabel=r"steps / steps of the seed's fastest method, $\tau$",
        ylabel="runs that reached the target, %",
        title=_left_out(spec, shown),
        xlim=(float(shown.taus[0]), float(shown.taus[-1])),
        ylim=(0, 103),
    )
    _legend_below(figure, axes, spec)
    return figure


def _left_out(spec: ReportSpec, shown: Profile) -> str:
    names = [spec.label(method) for method in spec.row_order if method not in shown.rho]
    return f"not compared: {', '.join(names)}" if names else ""


def seed_curves(runs: Runs, task: TaskSpec, method: str) -> pd.DataFrame:
    """The metric of a method on the target's split: a row per step, a column per seed with a run.

    Rows that a hardest-first evaluation adds are left out: they belong to single seeds and lie at their peaks.
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
    """Label the metric's axis, logarithmic where lower is better and all of it positive; let what matters fill it.

    The baseline's values after its first steps and the contenders' in the second half set its range. Controls extend
    it only if they are better, as the oracle is: one that diverges is cut off, and so are spikes after nowcasts.
    """
    target = task.target
    axes.set_ylabel(f"{target.split} {target.title}" + (f", {target.unit}" if target.unit else ""))
    base = _mean_from(runs, task, runs.spec.baseline, AXIS_START)
    others = [_mean_from(runs, task, method, 0.5) for method in runs.spec.contenders]
    values = np.concatenate([base, *others])
    if not len(values):
        return
    controls = np.concatenate([values, *(_mean_from(runs, task, method, 0.5) for method in runs.spec.controls)])
    values = np.append(values, controls.max() if target.higher_is_better else controls.min())
    low, high = min(values.min(), target.value), max(values.max(), target.value)
    if target.higher_is_better or low <= 0:
        margin = 0.05 * (high - low) or 1.0
        axes.set_ylim(low - margin, min(high + margin, 100.5) if target.unit == "%" else high + margin)
    else:
        high = min(high, WILD * max([*base, target.value]))
        axes.set_yscale("log")
        axes.set_ylim(low / 1.05, high * 1.05)
        _plain_log(axes)


def _mean_from(runs: Runs, task: TaskSpec, method: str, share: float) -> np.ndarray:
    """The finite means over seeds of a method's metric after a share of the steps, without those at nowcasts."""
    curves = seed_curves(runs, task, method)
    if curves.empty:
        return np.empty(0)
    shown = (curves.index >= share * task.recipe.steps) & ~curves.index.isin(nowcast_steps(runs, task, method))
    late = curves[shown].mean(axis=1).to_numpy()
    return np.asarray(late[np.isfinite(late)])


def _plain_log(axes: Axes) -> None:
    """Plain numbers on a logarithmic axis, also where it spans less than a decade."""
    low, high = axes.get_ylim()
    if high / low < 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0) if high / low < 20 else (1.0, 3.0)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _keep_in_sight(panels: np.ndarray, methods: list[str], spec: ReportSpec) -> None:
    """Let the methods set a shared axis: a control that goes beyond is cut off, and its title says how far it goes."""
    drawn = dict(zip(methods, panels, strict=False))
    ends = [axes.dataLim.y1 for method, axes in drawn.items() if method not in spec.controls]
    if not ends:
        return
    low = min(axes.dataLim.y0 for axes in drawn.values())
    margin = 1.3 if low > 0 else 1.0
    panels[0].set_ylim(low / margin, max(ends) * margin)
    for axes in drawn.values():
        if axes.dataLim.y1 > max(ends) * margin:
            axes.set_title(f"{axes.get_title()}: up to {axes.dataLim.y1:.1g}")


def _log_if_wide(panels: np.ndarray) -> None:
    """A shared logarithmic axis where it spans more than a decade."""
    low, high = panels[0].get_ylim()
    if low > 0 and high / low > 10:
        panels[0].set_yscale("log")
        _plain_log(panels[0])


def _legend_below(figure: Figure, axes: Axes, spec: ReportSpec) -> None:
    """One legend below the axes, in the tables' order."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    labels = [spec.label(method) for method in spec.row_order if spec.label(method) in handles]
    legend_below(figure, [handles[label] for label in labels], labels, columnspacing=1.2)
