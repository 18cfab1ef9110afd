"""When a run met its target: the benchmark's score, from a log and nothing else.

A run's score is the *first* evaluated step at which the target's split meets it, not the step of its best value.
A run that never meets it has no such step: None, a value that tables count, never a gap and never the last step.
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
        log: columns by name (what `read_table` returns, a mapping of sequences, a data frame): ``step`` and the
            target's split, a row per evaluation in any order. NaN (not measured, or diverged) never meets a target.
        target: metric, value and split; meeting it exactly counts.

    Returns:
        The step; None where no row meets the target.

    Raises:
        ValueError: where the columns differ in length or a step is not a finite whole number.

    >>> accuracy = TargetSpec("accuracy", 90.0)
    >>> steps_to_target({"step": [10, 20, 30], "test": [89.9, 90.0, 95.0]}, accuracy)
    20
    >>> steps_to_target({"step": [10, 20, 30], "test": [89.9, 89.9, float("nan")]}, accuracy) is None
    True
    """
    steps, values = _columns(log, target.split)
    met = [step for step, value in zip(steps, values, strict=True) if target.met(value)]
    return int(min(met)) if met else None


def seconds_to_target(log: Mapping[str, Any], target: TargetSpec) -> float | None:
    """Seconds of training and nowcasting (evaluation not counted) up to `steps_to_target`.

    Args:
        log: as in `steps_to_target`, with ``train_seconds`` and ``nowcast_seconds``, cumulative.
        target: metric, value and split.

    Returns:
        Seconds; None where no row meets the target.

    Raises:
        ValueError: as `steps_to_target`.

    >>> log = {"step": [1, 2], "test": [50, 95], "train_seconds": [1.0, 1.5], "nowcast_seconds": [0.0, 0.25]}
    >>> seconds_to_target(log, TargetSpec("accuracy", 90.0))
    1.75
    """
    step = steps_to_target(log, target)
    if step is None:
        return None
    steps, values = _columns(log, target.split)
    row = next(i for i in range(len(steps)) if steps[i] == step and target.met(values[i]))
    return float(np.asarray(log["train_seconds"])[row] + np.asarray(log["nowcast_seconds"])[row])


def steps_to_running_mean(log: Mapping[str, Any], target: TargetSpec, window: int) -> int | None:
    r"""The first evaluated step at which the mean of the last ``window`` steps' evaluations meets the target.

    A first hit is met by a peak: a metric that jitters by half a percent from step to step meets its target long
    before its level does, and the more often it is measured the sooner. This measure does not reward that:

    .. math:: \min \{t \ge w : \operatorname{mean} \{m_s : t - w < s \le t\} \text{ meets the target}\}

    Where evaluations lie ``window`` steps apart or more, each mean is of one value and it equals `steps_to_target`.

    Args:
        log: as in `steps_to_target`.
        target: metric, value and split.
        window: w, steps that a mean covers, at least 1; windows that begin before the run does are skipped.

    Returns:
        The step; None where no mean meets the target (one NaN in a window makes its mean NaN).

    Raises:
        ValueError: for a ``window`` below 1, and as `steps_to_target`.

    >>> log = {"step": [1, 2, 3, 4, 5], "test": [80, 91, 80, 90, 90]}
    >>> steps_to_target(log, TargetSpec("accuracy", 90.0)), steps_to_running_mean(log, TargetSpec("accuracy", 90.0), 2)
    (2, 5)
    """
    if window < 1:
        raise ValueError(f"`window` (={window}) must be at least 1 step")
    steps, values = _columns(log, target.split)
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    first = np.searchsorted(steps, steps - window, side="right")
    last = np.searchsorted(steps, steps, side="right")
    for step, begin, end in zip(steps, first, last, strict=True):
        if step >= window and target.met(float(values[begin:end].mean())):
            return int(step)
    return None


def best_value(log: Mapping[str, Any], target: TargetSpec) -> float | None:
    """The best value of the metric in the whole log, None where nothing finite was measured.

    >>> best_value({"step": [1, 2], "test": [30.0, 20.0]}, TargetSpec("perplexity", 10.0))
    20.0
    """
    _, values = _columns(log, target.split)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    return float(finite.max() if target.higher_is_better else finite.min())


def _columns(log: Mapping[str, Any], column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    steps, values = np.asarray(log["step"], dtype=float), np.asarray(log[column], dtype=float)
    if steps.ndim != 1 or steps.shape != values.shape:
        raise ValueError(f"the log's columns differ: 'step' has shape {steps.shape}, {column!r} {values.shape}")
    if not bool((np.isfinite(steps) & (steps == np.round(steps))).all()):
        bad = steps[~(np.isfinite(steps) & (steps == np.round(steps)))][0]
        raise ValueError(f"the log's column 'step' holds {bad}: every row needs the whole number of its step")
    return steps, values
