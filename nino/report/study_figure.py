"""The figure of a study whose rows have numbers: measured values over them, the published ones beside."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from nino.report.cells import measure
from nino.report.drawing import COLUMN, legend_below, new_figure
from nino.report.runs import Runs
from nino.report.studies import Study

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")  # told apart by colour-blind readers


def study_figure(wanted: Study, runs: Runs | None) -> Figure:
    """A line a column over the rows' numbers: measured (filled, with its interval) and published (open)."""
    figure = new_figure(COLUMN, 3.0)
    axes = figure.add_subplot()
    for j, (title, colour) in enumerate(zip(wanted.columns, COLOURS, strict=False)):
        points = sorted((x, i) for i, x in enumerate(positions(wanted, runs)) if x is not None)
        known = [(x, measure(runs, wanted.cells[i][j])) for x, i in points]
        known = [(x, value) for x, value in known if value.seeds]
        if known:
            xs, means = [x for x, _ in known], [value.mean for _, value in known]
            spread = np.array([[v.mean - v.interval.low, v.interval.high - v.mean] for _, v in known]).T
            axes.errorbar(xs, means, np.nan_to_num(spread), fmt="o-", color=colour, capsize=2, label=title)
        sources = [(x, source.value) for x, i in points if (source := wanted.cells[i][j].source())]
        if sources:
            label = f"{title}, published"
            axes.plot(*zip(*sources, strict=True), "o:", color=colour, mfc="white", linewidth=0.8, label=label)
    if wanted.x_log:
        axes.set_xscale("log")
    axes.set(xlabel=wanted.x_title, ylabel="metric" if len({t[-1] for t in wanted.columns}) > 1 else wanted.columns[0])
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        legend_below(figure, handles, labels, most=2, fontsize=6)
    return figure


def positions(wanted: Study, runs: Runs | None) -> list[float | None]:
    """The rows' numbers: as the runs of their tasks measured them, where the study wants that, else its own."""
    found: list[float | None] = [None if x is None else float(x) for x in wanted.x]
    if runs is not None and wanted.x_measured:
        for i, row in enumerate(wanted.cells):
            known = runs.frame.loc[runs.frame.task == row[0].task, wanted.x_measured].dropna()
            found[i] = float(known.iloc[0]) if len(known) else found[i]
    return found
