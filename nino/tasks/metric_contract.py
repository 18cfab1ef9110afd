"""What every metric of a target must do, as checks on a task's data; the tests and ``nino check`` run them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from nino.contracts import attempt
from nino.tasks.data import Data
from nino.tasks.metrics import Measure

EXAMPLES = 64  # that a metric is tried on
ROUNDING = 1e-4  # relative


def violations(metric: Measure, data: Data, higher_is_better: bool) -> list[str]:
    """Check that a metric is a number that follows from outputs and targets alone, and better for better predictions.

    Args:
        metric: of a target.
        data: whose validation split gives targets.
        higher_is_better: as the target has it.

    Returns:
        A sentence for each check that fails, with what it saw; empty if all hold.
    """
    return attempt(_values, metric, data, higher_is_better)


def _values(metric: Measure, data: Data, higher_is_better: bool) -> list[str]:
    _, targets = data.validation.slice(0, min(EXAMPLES, len(data.validation)))
    draw = torch.Generator().manual_seed(0)
    shape = targets.shape if data.loss == "mse" else (*targets.shape, data.outputs)
    outputs = torch.randn(shape, generator=draw).to(targets.device)
    sentences = []

    def value(outputs: Tensor, targets: Tensor) -> float:
        return metric([(outputs, targets)])

    first = value(outputs, targets)
    if not math.isfinite(first):
        sentences.append(f"finite: {first} for random outputs")
    if (again := value(outputs, targets)) != first and math.isfinite(first):
        sentences.append(f"repeatable: {first:g}, then {again:g} for the same outputs")
    order = torch.randperm(len(targets), generator=draw).to(targets.device)
    if not math.isclose(moved := value(outputs[order], targets[order]), first, rel_tol=ROUNDING, abs_tol=1e-8):
        sentences.append(f"order: {first:g}, and {moved:g} with the examples in another order")
    best = value(_right(targets, data), targets)
    if not (best >= first if higher_is_better else best <= first):
        way = "higher" if higher_is_better else "lower"
        sentences.append(
            f"better: {best:g} for right predictions and {first:g} for random ones, though {way} is better"
        )
    return sentences


def _right(targets: Tensor, data: Data) -> Tensor:
    """Outputs that predict every target."""
    return targets.clone() if data.loss == "mse" else 10.0 * F.one_hot(targets, data.outputs).float()
