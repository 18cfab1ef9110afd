"""The benchmark's score: when a run met its target, computed from its log alone.

A run's score is the *first* evaluated step at which the target's split meets it, not the step of the best value.
A run that never meets its target scores None, which tables count as a miss; it is neither left out nor given the last
step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nino.specs import TargetSpec


def steps_to_target(log: Mapping[str, Any], target: TargetSpec) -> int | None:
    r"""The first evaluated step that meets the target, :math:`\min \{t : m_t \text{ meets the target}\}`.

    Args:
        log: columns by name (a mapping of sequences, a data frame): ``step`` and the target's split, one row per
            evaluation in any order. NaN (not measured, or diverged) never meets a target.
        target: metric, value and split; a value equal to the target's meets it.

    Returns:
        The step; None if no row meets the target.

    Raises:
        ValueError: if the columns differ in length or a step is not a finite whole number.

    >>> accuracy = TargetSpec("accuracy", 90.0)
    >>> steps_to_target({"step": [10, 20, 30], "test": [89.9, 90.0, 95.0]}, accuracy)
    20
    >>> steps_to_target({"step": [10, 20, 30], "test": [89.9, 89.9, float("nan")]}, accuracy) is None
    True
    """
    steps, values = steps_and_values(log, target.split)
    met = [step for step, value in zip(steps, values, strict=True) if target.met(value)]
    return int(min(met)) if met else None


def seconds_to_target(log: Mapping[str, Any], target: TargetSpec) -> float | None:
    """Seconds of training and nowcasts, without evaluation, up to the step of `steps_to_target`.

    Args:
        log: as in `steps_to_target`, with cumulative ``train_seconds`` and ``nowcast_seconds``.
        target: metric, value and split.

    Returns:
        Seconds; None if no row meets the target.

    Raises:
        ValueError: as `steps_to_target`.

    >>> log = {"step": [1, 2], "test": [50, 95], "train_seconds": [1.0, 1.5], "nowcast_seconds": [0.0, 0.25]}
    >>> seconds_to_target(log, TargetSpec("accuracy", 90.0))
    1.75
    """
    step = steps_to_target(log, target)
    if step is None:
        return None
    steps, values = steps_and_values(log, target.split)
    row = next(i for i in range(len(steps)) if steps[i] == step and target.met(values[i]))
    return float(np.asarray(log["train_seconds"])[row] + np.asarray(log["nowcast_seconds"])[row])


def best_value(log: Mapping[str, Any], target: TargetSpec) -> float | None:
    """The best value of the metric in the whole log; None if no finite value was measured.

    >>> best_value({"step": [1, 2], "test": [30.0, 20.0]}, TargetSpec("perplexity", 10.0))
    20.0
    """
    _, values = steps_and_values(log, target.split)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    return float(finite.max() if target.higher_is_better else finite.min())


def steps_and_values(log: Mapping[str, Any], column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A log's steps and one of its columns, as float64 arrays.

    Raises:
        ValueError: if the columns differ in length or a step is not a finite whole number.
    """
    steps, values = np.asarray(log["step"], dtype=float), np.asarray(log[column], dtype=float)
    if steps.ndim != 1 or steps.shape != values.shape:
        raise ValueError(f"the log's columns differ: 'step' has shape {steps.shape}, {column!r} {values.shape}")
    if not bool((np.isfinite(steps) & (steps == np.round(steps))).all()):
        bad = steps[~(np.isfinite(steps) & (steps == np.round(steps)))][0]
        raise ValueError(f"the log's column 'step' holds {bad}: every row needs the whole number of its step")
    return steps, values
