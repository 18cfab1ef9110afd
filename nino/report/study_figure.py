"""The figure of a study whose rows have numbers: measured and published values over these numbers."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from nino.drawing import BLUE, COLUMN, GREEN, ORANGE, PINK, RED, legend_below, new_figure
from nino.report.cells import measure
from nino.report.runs import Runs
from nino.report.studies import Study

COLOURS = (BLUE, RED, GREEN, PINK, ORANGE)


def study_figure(study: Study, runs: Runs | None) -> Figure:
    """A line for each column over the rows' numbers: measured (filled, with interval) and published (open)."""
    figure = new_figure(COLUMN, 3.0)
    axes = figure.add_subplot()
    for j, (title, colour) in enumerate(zip(study.columns, COLOURS, strict=False)):
        points = sorted((x, i) for i, x in enumerate(positions(study, runs)) if x is not None)
        measured = [(x, value) for x, i in points if (value := measure(runs, study.cells[i][j])).seeds]
        if measured:
            means = [value.mean for _, value in measured]
            spread = np.array([[v.mean - v.interval.low, v.interval.high - v.mean] for _, v in measured]).T
            axes.errorbar(
                [x for x, _ in measured], means, np.nan_to_num(spread), fmt="o-", color=colour, capsize=2, label=title
            )
        sources = [(x, source.value) for x, i in points if (source := study.cells[i][j].source())]
        if sources:
            label = f"{title}, published"
            axes.plot(*zip(*sources, strict=True), "o:", color=colour, mfc="white", linewidth=0.8, label=label)
    values = [[measure(runs, cell).seeds for cell in row] for row in study.cells]
    gone = [row for row, x, seeds in zip(study.rows, study.x, values, strict=True) if x is not None and not any(seeds)]
    if gone and runs is not None:
        axes.set_title(f"not measured: {', '.join(gone)}", fontsize=6)
    if study.x_log:
        axes.set_xscale("log")
    axes.set(xlabel=study.x_title, ylabel="metric" if len({t[-1] for t in study.columns}) > 1 else study.columns[0])
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        legend_below(figure, handles, labels, most=2, fontsize=6)
    return figure


def positions(study: Study, runs: Runs | None) -> list[float | None]:
    """The rows' numbers: as measured by the runs of their tasks if the study asks for that, else as it gives them."""
    numbers: list[float | None] = [None if x is None else float(x) for x in study.x]
    if runs is not None and study.x_measured:
        for i, row in enumerate(study.cells):
            measured = runs.frame.loc[runs.frame.task == row[0].task, study.x_measured].dropna()
            numbers[i] = float(measured.iloc[0]) if len(measured) else numbers[i]
    return numbers
