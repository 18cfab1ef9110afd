"""A second score: when the running mean of a run's metric met the target, rather than a single peak.

A metric that jitters by half a percent from step to step meets its target long before its mean does, and the more often
it is measured, the sooner. A running mean does not reward that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nino.evaluate.target.score import steps_and_values
from nino.specs import ScheduleSpec, TargetSpec, TaskSpec

LEAST_EVALUATIONS = 5
"""The smallest number of evaluations that a running mean covers."""


def spacing(task: TaskSpec) -> int:
    """Steps between the evaluations that every run of a task has.

    A ``hardest_first`` evaluation adds rows where the metric peaks; a mean must leave them out.
    """
    return task.evaluation.validation_every if task.evaluation.hardest_first else task.evaluation.test_every


def window(task: TaskSpec, schedule: ScheduleSpec) -> int:
    """Steps that the running mean covers: a tenth of a period, or more if that holds fewer than five evaluations.

    >>> from nino.specs import *
    >>> recipe = RecipeSpec("adam", 1e-3, steps=10_000, batch_size=128)
    >>> evaluation = EvaluationSpec(test_every=1, validation_every=100)
    >>> target = TargetSpec("accuracy", 90)
    >>> task = TaskSpec("t", DataSpec("digits"), ModelSpec("convnet"), recipe, target, evaluation)
    >>> window(task, ScheduleSpec(period=1000))
    100
    """
    return max(1, schedule.period // 10, LEAST_EVALUATIONS * spacing(task))


def running_mean_score(log: Mapping[str, Any], task: TaskSpec, schedule: ScheduleSpec) -> int | None:
    """The first step at which the running mean of a run's evaluations meets the task's target.

    Args:
        log: columns by name, as in `steps_to_target`.
        task: gives the target and the spacing of evaluations.
        schedule: of the run's nowcasts; gives the period.

    Returns:
        The step; None if no mean meets the target.
    """
    steps = np.asarray(log["step"], dtype=float)
    rows = (steps % spacing(task) == 0) | (steps == task.recipe.steps)
    values = np.asarray(log[task.target.split], dtype=float)
    spaced = {"step": steps[rows], task.target.split: values[rows]}
    return steps_to_running_mean(spaced, task.target, window(task, schedule))


def steps_to_running_mean(log: Mapping[str, Any], target: TargetSpec, window: int) -> int | None:
    r"""The first evaluated step at which the mean over the last ``window`` steps meets the target.

    .. math:: \min \{t \ge w : \operatorname{mean} \{m_s : t - w < s \le t\} \text{ meets the target}\}

    If evaluations are ``window`` steps apart or more, each mean is of one value and the score is `steps_to_target`.

    Args:
        log: as in `steps_to_target`.
        target: metric, value and split.
        window: w, the number of steps that a mean covers, at least 1; windows that begin before the run are skipped.

    Returns:
        The step; None if no mean meets the target. The mean of a window with a NaN is NaN.

    Raises:
        ValueError: for a ``window`` below 1, and as `steps_to_target`.

    >>> from nino.evaluate.target.score import steps_to_target
    >>> log = {"step": [1, 2, 3, 4, 5], "test": [80, 91, 80, 90, 90]}
    >>> steps_to_target(log, TargetSpec("accuracy", 90.0)), steps_to_running_mean(log, TargetSpec("accuracy", 90.0), 2)
    (2, 5)
    """
    if window < 1:
        raise ValueError(f"`window` (={window}) must be at least 1 step")
    steps, values = steps_and_values(log, target.split)
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    first = np.searchsorted(steps, steps - window, side="right")
    last = np.searchsorted(steps, steps, side="right")
    for step, begin, end in zip(steps, first, last, strict=True):
        if step >= window and target.met(float(values[begin:end].mean())):
            return int(step)
    return None
