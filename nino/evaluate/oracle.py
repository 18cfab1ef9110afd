"""The control that bounds every forecast from above: the run's own later state."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer

from nino.nowcasters.base import Nowcaster
from nino.training import Training

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph


class Oracle(Nowcaster):
    r"""Jumps to where the run itself would be ``k`` states later, had it gone on with its base optimizer.

    :math:`\hat\theta_{t + k} = \theta_{t + k s}`: a copy of network, base optimizer and batch order takes the next
    :math:`k s` base steps (s steps between states), and its parameters are the forecast. Past states are not read.
    What the copy does is no training of the run: neither its steps nor its seconds count towards the target, which
    is what makes this the price of a perfect forecast and no method. The base optimizer's state (Adam's moments)
    stays what it was at step t, as after every nowcast.

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
        """Say which run to foresee.

        Args:
            training: the run; read at each nowcast, never changed.
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
    ) -> Tensor:
        """The parameters ``k`` states after the last one; see ``Nowcaster.predict``.

        Raises:
            RuntimeError: before ``follow``.
            ValueError: as ``Nowcaster.predict``.
        """
        self.check(graph, states, k)
        if self._training is None or self._base is None:
            raise RuntimeError("the oracle does not know its run: call `follow(training, base)` before the first step")
        fork = Training(self._training.task, self._training.seed)
        # Optimizer.load_state_dict keeps the tensors it is given: without copies the fork would train the run's.
        fork.load_state_dict(
            {
                "seed": self._training.seed,
                "steps": self._training.steps,
                "model": self._training.model.state_dict(),
                "optimizer": copy.deepcopy(self._base.state_dict()),
            }
        )
        with torch.enable_grad():  # nowcasts happen where gradients are switched off
            for _ in range(k * self.spacing):
                fork.step()
        return fork.flat_parameters().float()
