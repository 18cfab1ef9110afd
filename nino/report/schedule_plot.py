"""The figure of the schedule: how far every nowcast of a run reaches."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nino.evaluate.methods import spacing_of
from nino.optim import horizons
from nino.report.drawing import COLUMN, legend_below, looks, new_figure
from nino.specs import ReportSpec, ScheduleSpec


def schedule_figure(spec: ReportSpec) -> Figure:
    """The horizon k of every nowcast, for each length of training; of each schedule, where methods have their own.

    Lines of one schedule are of states, with steps on the right; several, whose states lie differently far apart,
    are of steps, in the colour of the first method that follows them, for the longest training.
    """
    own = _schedules(spec)
    figure = new_figure(COLUMN, 2.3 if len(own) < 2 else 3.0)
    axes = figure.add_subplot()
    if len(own) > 1:
        _by_schedule(figure, axes, spec, own)
    else:
        _by_length(axes, spec, next(iter(own), None) or (spec.schedule, spec.schedule.period // spec.schedule.context))
    axes.set_xlabel("step of the nowcast")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    return figure


def _schedules(spec: ReportSpec) -> dict[tuple[ScheduleSpec, int], list[str]]:
    """Methods that make nowcasts by their schedule and the steps between its states."""
    named = [field.name for field in fields(ScheduleSpec)]
    found: dict[tuple[ScheduleSpec, int], list[str]] = {}
    for method in spec.methods:
        if method.nowcaster not in ("none", "l2o"):
            changes = {key: method.options[key] for key in named if key in method.options}
            key = replace(spec.schedule, **changes), spacing_of(method, spec.schedule)
            found.setdefault(key, []).append(method.name)
    return found


def _points(schedule: ScheduleSpec, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and horizons k of the nowcasts of a run."""
    ks = np.asarray(horizons(total, schedule.period, schedule.max_horizon, schedule.power))
    return schedule.period * np.arange(1, len(ks) + 1), ks


def _by_schedule(figure: Figure, axes: Axes, spec: ReportSpec, own: dict[tuple[ScheduleSpec, int], list[str]]) -> None:
    total = max(task.recipe.steps for task in spec.tasks)
    for (schedule, spacing), methods in own.items():
        if schedule.period <= total:
            steps, ks = _points(schedule, total)
            label = ", ".join(spec.label(method) for method in methods)
            axes.plot(steps, ks * spacing, marker="o", markersize=3, label=label, **looks(spec)[methods[0]].line())
    axes.set_ylabel("steps ahead")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, *axes.get_legend_handles_labels(), most=2)


def _by_length(axes: Axes, spec: ReportSpec, own: tuple[ScheduleSpec, int]) -> None:
    schedule, spacing = own
    for total in sorted({task.recipe.steps for task in spec.tasks if task.recipe.steps >= schedule.period}):
        axes.plot(*_points(schedule, total), "o-", label=f"{total:,} steps")
    axes.set_ylabel("horizon k, states")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    right = axes.secondary_yaxis(
        "right", functions=(lambda k: np.asarray(k) * spacing, lambda steps: np.asarray(steps) / spacing)
    )
    right.set_ylabel("steps ahead")
    axes.legend(title=f"a nowcast every {schedule.period:,} steps", title_fontsize=7)
