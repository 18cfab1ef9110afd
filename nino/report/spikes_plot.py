"""The figure of losses around nowcasts: a panel for each method, and the steps before and after below."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from nino.drawing import BLUE, COLUMN, DARK, PAGE, RED, grid_shape, legend_below, looks, new_figure, panel_grid
from nino.report.losses_near_nowcasts import losses_panel, relative_losses
from nino.report.plots import nowcast_steps, plain_log, titled, without_run
from nino.report.runs import Runs
from nino.specs import ReportSpec, TaskSpec


def spikes_figure(runs: Runs, task: TaskSpec) -> Figure:
    """Loss of the next batch before (open) and after (filled) each nowcast, a panel per method; means over seeds.

    Below, where runs recorded them, the losses of the steps around nowcasts, relative to those before.
    """
    spec = runs.spec
    planned = (*spec.nowcasting(task.id), *spec.controls)
    methods = [method for method in planned if len(nowcast_steps(runs, task, method))]
    shape = rows, columns = grid_shape(len(methods))
    losses = {m: table for m in methods if len(table := relative_losses(runs, task.id, m))}
    heights = [0.5 + 1.6 * rows, *([0.5 + 1.6 * grid_shape(len(losses))[0]] if losses else [])]
    whole = new_figure(COLUMN if columns == 1 else PAGE, sum(heights))
    figure: Figure | SubFigure = whole
    if losses:
        halves = whole.add_gridspec(2, 1, height_ratios=heights)
        figure = whole.add_subfigure(halves[0])
        below = whole.add_subfigure(halves[1])
        _losses_panels(below, runs, losses)
        if gone := [spec.label(method) for method in methods if method not in losses]:
            below.suptitle(f"no losses of these steps were recorded of {', '.join(gone)}", fontsize=7)
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
    unrun = [method for method in without_run(runs, task) if method in planned]
    whole.suptitle(titled(runs, task, unrun), fontsize=8)
    return whole


def _losses_panels(figure: SubFigure, runs: Runs, losses: dict[str, pd.DataFrame]) -> None:
    panels = panel_grid(figure, grid_shape(len(losses)), len(losses), "steps from the nowcast")
    for axes, (method, table) in zip(panels, losses.items(), strict=False):
        losses_panel(axes, table)
        axes.set_title(runs.spec.label(method))
    _keep_in_sight(panels, list(losses), runs.spec)
    _log_if_wide(panels[: len(losses)])
    figure.supylabel("training loss / before", fontsize=8)


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
        plain_log(panels[0])
