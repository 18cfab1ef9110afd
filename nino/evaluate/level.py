"""When a run's level met its target, not a peak of it: a running mean over evaluations that every run has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nino.evaluate.target import steps_to_running_mean
from nino.specs import ScheduleSpec, TaskSpec

ROWS = 5
"""Evaluations that a running mean is taken over, at least."""


def spacing(task: TaskSpec) -> int:
    """Steps between the evaluations that every run of a task has.

    Rows that a hardest-first evaluation adds lie where the metric peaks: a mean may not be taken over them.
    """
    return task.evaluation.validation_every if task.evaluation.hardest_first else task.evaluation.test_every


def window(task: TaskSpec, schedule: ScheduleSpec) -> int:
    """Steps that the running mean covers: a tenth of a period, or more where fewer than ``ROWS`` evaluations lie in it.

    >>> from nino.specs import *
    >>> recipe = RecipeSpec("adam", 1e-3, steps=10_000, batch_size=128)
    >>> evaluation = EvaluationSpec(test_every=1, validation_every=100)
    >>> target = TargetSpec("accuracy", 90)
    >>> task = TaskSpec("t", DataSpec("digits"), ModelSpec("convnet"), recipe, target, evaluation)
    >>> window(task, ScheduleSpec(period=1000))
    100
    """
    return max(1, schedule.period // 10, ROWS * spacing(task))


def steps_to_level(log: Mapping[str, Any], task: TaskSpec, schedule: ScheduleSpec) -> int | None:
    """The first step at which the running mean of a run's log met the target.

    Args:
        log: columns by name, as in `nino.evaluate.steps_to_target`.
        task: whose target and spacing of evaluations.
        schedule: of the run's nowcasts.

    Returns:
        The step; None where no mean met it.
    """
    steps = np.asarray(log["step"], dtype=float)
    rows = (steps % spacing(task) == 0) | (steps == task.recipe.steps)
    values = np.asarray(log[task.target.split], dtype=float)
    level = {"step": steps[rows], task.target.split: values[rows]}
    return steps_to_running_mean(level, task.target, window(task, schedule))
