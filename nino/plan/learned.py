"""The cost of fitting a learned optimizer, from an unroll and a step of a training that it learns from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nino.l2o import L2ONet
from nino.l2o.fit import start, unroll
from nino.measure import peak_bytes, seconds
from nino.specs import L2OSpec, TaskSpec
from nino.tasks import DataSizes, Task


@dataclass(frozen=True)
class L2OCalibration:
    """The cost of a fit's parts.

    Args:
        unroll: seconds of an iteration: the steps of an unroll and the update after them.
        step: seconds of a step of the training that validates.
        memory: of an iteration and of all trainings under way, beside the process's own [bytes].
    """

    unroll: float
    step: float
    memory: int

    def seconds(self, spec: L2OSpec) -> float:
        """Seconds of a whole fit."""
        validations = 1 + -(-spec.iterations // spec.validate_every)
        return spec.iterations * self.unroll + validations * spec.validation_steps * self.step


def calibrate_l2o(spec: L2OSpec, task: TaskSpec, sizes: DataSizes, device: torch.device) -> L2OCalibration:
    """Time an unroll and a step on random data.

    Args:
        spec: the recipe.
        task: whose trainings it learns from.
        sizes: sizes of the task's data.
        device: where the fit runs.

    Returns:
        Seconds and bytes.
    """
    data = Task(task, sizes.synthetic(task.recipe.batch_size, 1, 1), device)
    net = L2ONet(spec.hidden, 0).to(device)
    training = start(data, 0, net)
    learner = torch.optim.AdamW(net.parameters(), lr=spec.lr)

    def iteration() -> None:
        _, objective = unroll(training, spec.unroll)
        learner.zero_grad()
        objective.backward()
        learner.step()

    memory = peak_bytes(iteration, device)
    state = sum(t.numel() * 4 for accumulators in training.optimizer.state.values() for t in accumulators.values())
    each = state + sum(p.numel() * p.element_size() for p in training.parameters)
    return L2OCalibration(
        seconds(iteration, device), seconds(training.step, device), memory + spec.trainings * each + sizes.held_bytes
    )
