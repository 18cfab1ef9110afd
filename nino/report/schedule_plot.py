"""The figure of the schedule: how far every nowcast of a run reaches."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nino.drawing import COLUMN, legend_below, looks, new_figure
from nino.schedule import Schedule
from nino.specs import MethodSpec, ReportSpec
from nino.specs.method_schedule import method_schedule
from nino.specs.methods import WITHOUT_NOWCASTS


def schedule_figure(spec: ReportSpec) -> Figure:
    """How far every nowcast reaches: a line for each length of training, or for each schedule if methods have several.

    With one schedule, the axis counts states, and the one on the right steps. The states of several schedules differ in
    spacing, so their axis counts steps; each line has the colour of the first method that follows the schedule and is
    drawn for the longest training.
    """
    longest = max(task.recipe.steps for task in spec.tasks)
    planned: dict[Schedule, list[MethodSpec]] = {}
    for method in sorted(spec.methods, key=lambda each: spec.row_order.index(each.name)):
        if method.nowcaster not in WITHOUT_NOWCASTS:
            period = method_schedule(method, spec.schedule).period  # which may be longer than any run
            planned.setdefault(method_schedule(method, spec.schedule, max(longest, period)), []).append(method)
    figure = new_figure(COLUMN, 2.3 if len(planned) < 2 else 3.0)
    axes = figure.add_subplot()
    if len(planned) > 1:
        _by_schedule(figure, axes, spec, planned, longest)
    else:
        _by_length(axes, spec, next((methods[0] for methods in planned.values()), spec.methods[0]))
    axes.set_xlabel("step of the nowcast")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _by_schedule(
    figure: Figure, axes: Axes, spec: ReportSpec, planned: dict[Schedule, list[MethodSpec]], total: int
) -> None:
    for schedule, methods in planned.items():
        if steps := list(schedule.nowcasts(total)):
            ahead = [schedule.reach(step) for step in steps]
            label = ", ".join(spec.label(method.name) for method in methods)
            axes.plot(steps, ahead, marker="o", markersize=3, label=label, **looks(spec)[methods[0].name].line())
    axes.set_ylabel("steps ahead")
    legend_below(figure, *axes.get_legend_handles_labels(), most=2)


def _by_length(axes: Axes, spec: ReportSpec, method: MethodSpec) -> None:
    first = method_schedule(method, spec.schedule)
    period, spacing = first.period, first.spacing
    for total in sorted({task.recipe.steps for task in spec.tasks if task.recipe.steps >= period}):
        schedule = method_schedule(method, spec.schedule, total)
        steps = list(schedule.nowcasts(total))
        axes.plot(steps, [schedule.horizon(step) for step in steps], "o-", label=f"{total:,} steps")
    axes.set_ylabel("horizon k, states")
    right = axes.secondary_yaxis(
        "right", functions=(lambda k: np.asarray(k) * spacing, lambda steps: np.asarray(steps) / spacing)
    )
    right.set_ylabel("steps ahead")
    axes.legend(title=f"a nowcast every {period:,} steps", title_fontsize=7)
