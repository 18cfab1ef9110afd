"""Where runs stand at fixed steps, whatever the target is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nino.report.columns import METHOD, Column, Row, by_task, head, lay_out, spread
from nino.report.formats import EMPTY, mean_std, number
from nino.report.measures import Cell, values
from nino.report.progress import settled_step, worth_at
from nino.report.rendering import Table
from nino.report.runs import Runs
from nino.report.statistics import sample_mean, sample_std
from nino.report.steps_to_target import absent
from nino.report.task_descriptions import metric_digits
from nino.specs import TaskSpec

FRACTIONS = (0.25, 0.5, 0.75, 1.0)


def fixed_step_table(runs: Runs) -> Table:
    """The metric at a quarter, half, three quarters and all of the steps.

    The last column does not depend on a target either: the baseline's step that first was as good as the method at half
    of its steps (seed by seed, median).
    """
    columns = (
        Column("Task", lambda row: _task_text(runs.spec.task(row["task"])), once=True),
        METHOD,
        *(Column(f"{100 * fraction:g} % of steps", _at(i)) for i, fraction in enumerate(FRACTIONS)),
        Column("Best", lambda row: _spread_text(row, "best", row["digits"])),
        Column("Half the steps are worth", lambda row: _worth_text(runs, row)),
    )
    rows = [
        head(runs, task.id, method)
        | {"part": runs.part(task.id, method), "at": [_at_step(runs, task, method, f) for f in FRACTIONS]}
        | {"digits": metric_digits(task.target)}
        | {"empty": EMPTY if runs.keys(task.id, method) else absent(runs, task.id, method)}
        for task in runs.spec.tasks
        for method in runs.spec.row_order
    ]
    return lay_out(
        "fixed_steps",
        "Metric at fixed steps",
        columns,
        rows,
        data=[record for row in rows for record in row["at"]],
        group=by_task,
        notes=(
            "Mean ± sample standard deviation over seeds of the last evaluation up to that step that comes half a "
            f"period or more after every method's jumps, the same step for all{_read_at(runs)}. Best: of all of them. "
            "n: runs that got so far, where some ended before.",
            f"Half the steps are worth: the step at which {runs.spec.label(runs.spec.baseline)} was first as good as "
            "the method had been within half of its steps, by the evaluations that all runs have; median over seeds; > "
            "where it never was.",
        ),
    )


def _at_step(runs: Runs, task: TaskSpec, method: str, fraction: float) -> dict[str, Any]:
    step = round(fraction * task.recipe.steps)
    array = np.array(list(values(runs, Cell("value_at", method, task.id, step)).values()))
    return {
        "task": task.id,
        "method": method,
        "step": step,
        "read_at": settled_step(runs, task, step),
        "seeds": len(array),
        "mean": sample_mean(array),
        "std": sample_std(array),
    }


def _read_at(runs: Runs) -> str:
    """At which steps the columns are read, where these are others than the columns say."""
    parts = []
    for task in runs.spec.tasks:
        steps = [round(fraction * task.recipe.steps) for fraction in FRACTIONS]
        moved = {step: at for step in steps if (at := settled_step(runs, task, step)) != step}
        parts += [f"{task.id} {', '.join(f'{at} for {step}' for step, at in moved.items())}"] if moved else []
    return f" ({'; '.join(parts)})" if parts else ""


def _at(position: int) -> Callable[[Row], str]:
    """Show the metric at one of the steps; the first column says why a method has no run."""
    empty = (lambda row: row["empty"]) if position == 0 else (lambda row: EMPTY)

    def show(row: Row) -> str:
        at = row["at"][position]
        return _of_some(row, spread("mean", "std", row["digits"])(at), at["seeds"]) if at["seeds"] else empty(row)

    return show


def _of_some(row: Row, text: str, seeds: int) -> str:
    """A mean; where runs that ended early are left out of it, with the number of runs that remain."""
    return text if seeds in (0, (row["part"].status != "missing").sum()) else f"{text} (n = {seeds})"


def _task_text(task: TaskSpec) -> str:
    return f"{task.id} ({task.target.title}{', ' + task.target.unit if task.target.unit else ''})"


def _spread_text(row: Row, name: str, digits: int = 0) -> str:
    array = row["part"][name].dropna().to_numpy()
    return _of_some(row, mean_std(sample_mean(array), sample_std(array), digits), len(array))


def _worth_text(runs: Runs, row: Row) -> str:
    task = runs.spec.task(row["task"])
    steps = worth_at(runs, task, row["method"], task.recipe.steps / 2)
    return f"> {task.recipe.steps}" if np.isinf(steps) else number(steps)
