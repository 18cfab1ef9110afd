"""The control that bounds every forecast from above: the run's own later state."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer

from nino.nowcasters.base import Nowcaster
from nino.training import Training

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph


class Oracle(Nowcaster):
    r"""Forecasts the state that the run itself would reach ``k`` states later with its base optimizer.

    A copy of network, base optimizer and batch order takes the next :math:`k s` base steps, where s is the number of
    steps between two states. Its parameters are the forecast, :math:`\hat\theta_{t + k} = \theta_{t + k s}`; past
    states are not read. Neither the steps nor the seconds of the copy count towards the target: the oracle shows what a
    perfect forecast would gain, and is not a method. The state of the run's base optimizer (Adam's moments) stays what
    it was at step t, as after every nowcast.

    Args:
        spacing: s, steps between two states.
    """

    context = None

    def __init__(self, spacing: int) -> None:
        """See the class."""
        self.spacing = spacing
        self._training: Training | None = None
        self._base: Optimizer | None = None

    def follow(self, training: Training, base: Optimizer) -> None:
        """Set the run to forecast.

        Args:
            training: the run; it is read at each nowcast and never changed.
            base: its base optimizer, the one inside the wrapper.
        """
        self._training, self._base = training, base

    def predict(
        self,
        graph: NeuralGraph,
        states: Tensor,
        k: int,
        *,
        lpe: Tensor | None = None,
        engine: str = "streamed",
        memory_budget: int | None = None,
        threads: int | None = None,
    ) -> Tensor:
        """The parameters ``k`` states after the last one; see ``Nowcaster.predict``.

        Raises:
            RuntimeError: before ``follow``.
            ValueError: as ``Nowcaster.predict``.
        """
        self.check(graph, states, k)
        if self._training is None or self._base is None:
            raise RuntimeError("the oracle does not know its run: call `follow(training, base)` before the first step")
        task = self._training.task
        fork = Training(task.with_recipe(replace(task.spec.recipe, averaging=None)), self._training.seed)
        # Optimizer.load_state_dict keeps the tensors that it is given: without copies the fork would change the run's.
        fork.load_state_dict(
            {
                "seed": self._training.seed,
                "steps": self._training.steps,
                "model": self._training.model.state_dict(),
                "optimizer": copy.deepcopy(self._base.state_dict()),
            }
        )
        with torch.enable_grad():  # nowcasts happen with gradients disabled
            for _ in range(k * self.spacing):
                fork.step()
        return fork.flat_parameters().float()
