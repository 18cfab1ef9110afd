"""What a network's outputs on a whole split are worth: the metrics of targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from nino.specs import Reference, TargetSpec, suggest
from nino.specs.references import registered
from nino.specs.targets import METRICS

Parts = Iterable[tuple[Tensor, Tensor]]
"""Outputs and targets of the parts of a split, in order."""


class Measure(Protocol):
    """A metric of a whole split."""

    def __call__(self, parts: Parts) -> float:
        """The metric; NaN where an output is NaN."""


def metric(target: TargetSpec) -> Measure:
    """What computes a target's metric; one from outside this package is imported, which runs its file.

    Raises:
        ValueError: for a metric that is unknown, and for a reference as `Reference.load`.
    """
    if target.metric in OURS:
        return OURS[target.metric]
    reference = Reference.find(target.metric, "metric")
    if reference is None:
        raise ValueError(
            f"target.metric is {target.metric!r}: {suggest(target.metric, [*METRICS, *registered('metric')])}"
        )
    return _Outside(target.metric, reference.load())


def accuracy(parts: Parts) -> float:
    r""":math:`100 \cdot \text{correct} / n` in percent; an output that is not finite makes it NaN."""
    return 100.0 * _mean(parts, _correct)


def perplexity(parts: Parts) -> float:
    r""":math:`\exp` of the mean cross-entropy over all predicted tokens; infinite from :math:`e^{700}` on."""
    mean = _mean(parts, lambda scores, targets: F.cross_entropy(scores, targets, reduction="sum"))
    return math.exp(mean) if mean < 700 else math.inf if mean == mean else math.nan


def mse(parts: Parts) -> float:
    """The mean squared error over all numbers, in the square of their unit."""
    total, count = 0.0, 0
    for outputs, targets in parts:
        total += float((shaped(outputs, targets) - targets).double().square().sum())
        count += targets.numel()
    return total / count


def shaped(outputs: Tensor, targets: Tensor) -> Tensor:
    """Predicted numbers in the shape of those to predict: (n,) and (n, 1) are the same.

    Raises:
        ValueError: for outputs of another shape, which would be broadcast.
    """
    if outputs.shape != targets.shape and outputs.squeeze(-1).shape != targets.squeeze(-1).shape:
        raise ValueError(
            f"the model gives outputs of shape {tuple(outputs.shape)}, but the data's targets have "
            f"{tuple(targets.shape)}: one output for each number"
        )
    return outputs.reshape(targets.shape)


class _Outside:
    """A metric from outside this package: called once with all outputs and targets of the split."""

    def __init__(self, name: str, function: Callable[[Tensor, Tensor], float]) -> None:
        self._name, self._function = name, function

    def __call__(self, parts: Parts) -> float:
        outputs, targets = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        if outputs.isnan().any():
            return math.nan
        value = self._function(outputs, targets)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"target.metric {self._name} gave {value!r}, no number") from error


def _mean(parts: Parts, of: Callable[[Tensor, Tensor], Tensor]) -> float:
    """The mean over all predictions of what ``of`` sums up over scores (n, classes) and targets (n,)."""
    total: Tensor | float = 0.0
    count = 0
    for outputs, targets in parts:
        total = of(outputs.flatten(0, -2), targets.flatten()).to(torch.float64) + total
        count += targets.numel()
    return float(total) / count


def _correct(scores: Tensor, targets: Tensor) -> Tensor:
    """How many rows of (n, classes) have their largest score at the target; NaN if any score is not finite."""
    correct = (scores.argmax(1) == targets).sum().to(torch.float64)
    return correct + 0.0 * scores.sum()


OURS: dict[str, Measure] = {"accuracy": accuracy, "mse": mse, "perplexity": perplexity}
