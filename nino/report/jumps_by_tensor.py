"""How far nowcasts move each parameter tensor: a figure for each task, and the sentence of its caption."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nino.drawing import BLUE, COLUMN, PAGE, RED, grid_shape, legend_below, new_figure, panel_grid
from nino.evaluate.run_folder import QUANTILES
from nino.report.plots import titled
from nino.report.runs import Runs
from nino.specs import TaskSpec

MOST_ROWS = 14  # more tensors than fit below each other are drawn by kind
LEAST = 1e-3  # movements; smaller jumps are drawn there
WHEN = {"first": BLUE, "last": RED}
NOT_KEPT = "these runs kept no record of how their nowcasts lie over the parameters"


def jumps_figure(runs: Runs, task: TaskSpec) -> Figure:
    """A panel for each method: how far its first and last nowcast moved each tensor; means over seeds."""
    methods = (*runs.spec.nowcasting(task.id), *runs.spec.controls)
    spreads = {method: table for method in methods if len(table := spread(runs, task, method))}
    shape = rows, columns = grid_shape(len(spreads))
    names = max((table.loc["first"].shape[0] for table in spreads.values()), default=4)
    figure = new_figure(COLUMN if columns == 1 else PAGE, 0.8 + rows * (0.5 + 0.17 * names))
    panels = panel_grid(figure, shape, len(spreads), "jump / movement in one spacing")
    for axes, (method, table) in zip(panels, spreads.items(), strict=False):
        _panel(axes, table)
        axes.set_title(runs.spec.label(method))
    if spreads:
        panels[0].invert_yaxis()  # the network's first tensor on top
        handles, labels = panels[0].get_legend_handles_labels()
        legend_below(figure, handles, labels, most=2)
    else:
        made = sum(len(runs.nowcasts_of(method, task.id)) for method in methods)
        text = f"{made} nowcasts were made,\nof none is known how it lay\nover the tensors" if made else "no nowcasts"
        if any(len(table) for key, table in runs.jumps.items() if key.task == task.id):
            text = "no nowcast changed anything\nthat had moved before"
        panels[0].text(0.5, 0.5, text, ha="center", va="center", transform=panels[0].transAxes)
    gone = [method for method in methods if runs.keys(task.id, method) and method not in spreads]
    figure.suptitle(titled(runs, task, gone if spreads else []), fontsize=8)
    return figure


def spread(runs: Runs, task: TaskSpec, method: str) -> pd.DataFrame:
    """The quantiles of a method's first and last nowcast, by tensor, or by kind of tensor if there are many.

    Args:
        runs: the runs.
        task: which task.
        method: which method.

    Returns:
        Index (when, name) with when ``first`` or ``last``, the columns ``q05`` ... ``q95``, ``largest`` and ``k``: the
        mean over seeds, and over the tensors of a kind by their elements. Empty where no nowcast changed anything.
    """
    tables = [runs.jumps[key] for key in runs.keys(task.id, method) if len(runs.jumps.get(key, ()))]
    if not tables or not any(table.change.any() for table in tables):
        return pd.DataFrame()
    values = [*QUANTILES, "largest", "k"]
    parts = []
    for table in tables:
        name = "tensor" if table.tensor.nunique() <= MOST_ROWS else "kind"
        for when, step in (("first", table.step.min()), ("last", table.step.max())):
            part = table[table.step == step].dropna(subset=[*QUANTILES])
            weighted = part[values].mul(part.elements, axis=0).groupby(part[name], sort=False).sum()
            weights = part.elements.groupby(part[name], sort=False).sum()
            parts.append(weighted.div(weights, axis=0).rename_axis("name").assign(when=when).reset_index())
    joined = pd.concat(parts)
    if joined["when"].nunique() < len(WHEN):  # nothing had moved before one of the two
        return pd.DataFrame()
    return joined.groupby(["when", "name"], sort=False)[values].mean()


def jumps_sentence(runs: Runs, method: str, task: TaskSpec) -> str:
    """Name the tensors that a method's first nowcast moves most and least."""
    label, table = runs.spec.label(method), spread(runs, task, method)
    if table.empty:
        return f"{task.id}: {label}: {_why_empty(runs, method, task)}."
    first = table.loc["first"]
    far, near = str(first.q50.idxmax()), str(first.q50.idxmin())
    return (
        f"{task.id}: at the first nowcast of {label} (k = {first.k.mean():.0f}) the median element of {far} jumped by "
        f"{first.q50.max():.2g} times what its tensor had moved over one spacing, that of {near} by "
        f"{first.q50.min():.2g}; 5 % of the elements of {first.q95.idxmax()} jumped by {first.q95.max():.2g} or more."
    )


def _why_empty(runs: Runs, method: str, task: TaskSpec) -> str:
    """Why `spread` has nothing to show of a method."""
    tables = [runs.jumps[key] for key in runs.keys(task.id, method) if len(runs.jumps.get(key, ()))]
    if tables:
        moved = any(table.change.any() for table in tables)
        return "nothing had moved before its first or last nowcast" if moved else "its nowcasts changed nothing"
    if len(runs.nowcasts_of(method, task.id)):
        return NOT_KEPT
    return "no nowcast was made" if runs.keys(task.id, method) else "there is no run"


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    names = list(table.index.get_level_values("name").unique())
    for shift, (when, colour) in zip((-0.18, 0.18), WHEN.items(), strict=True):
        part = table.loc[when].clip(lower=LEAST).reindex(names)
        places = np.arange(len(names)) + shift
        axes.hlines(places, part.q05, part.q95, color=colour, linewidth=0.8)
        axes.hlines(places, part.q25, part.q75, color=colour, linewidth=2.4)
        axes.plot(part.q50, places, "o", color=colour, markersize=2.8, mec="white", mew=0.4, label=f"{when} nowcast")
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.tick_params(axis="y", length=0)
