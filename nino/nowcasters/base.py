"""What every nowcaster is: past parameter states and a graph in, future parameters out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph


class Nowcaster(ABC):
    r"""Predicts the parameters k states ahead, :math:`\hat\theta_{t+k} = f(\theta_{t-c+1}, \dots, \theta_t; k)`.

    Attributes:
        context: states c that ``predict`` reads (5 in the paper); None where any number of at least 2 will do.
        max_horizon: largest k; None where any k >= 1 will do.
        fixed_horizon: the only k that will do, if there is only one.
        equivariant: whether a permutation of hidden neurons that keeps the network's function permutes the prediction
            alike; the contract's checks (``nino.nowcasters.contract``) hold it to that.
        needs_graph: whether it reads what an edge joins; where not, each parameter's kind will do.
    """

    context: int | None = 5
    max_horizon: int | None = None
    fixed_horizon: int | None = None
    equivariant: bool = True
    needs_graph: bool = True

    def at_step(self, step: int) -> None:  # noqa: B027 (optional hook)
        """Hear which step the next nowcast takes the place of, before ``predict``; for nowcasters that draw anew."""

    @abstractmethod
    def predict(
        self,
        graph: NeuralGraph,
        states: Any,
        k: int,
        *,
        lpe: Tensor | None = None,
        engine: str = "streamed",
        memory_budget: int | None = None,
    ) -> Tensor:
        """Predict the parameters ``k`` states after the last one.

        Args:
            graph: the network's neural graph.
            states: (P, c) floating point, oldest state first, rows in ``named_parameters`` order; any strides, any
                device, or a ``FileStates`` over files.
            k: horizon in states, 1 <= k <= ``max_horizon``.
            lpe: (N, 8) node positions; None takes ``graph.lpe()``. Ignored by nowcasters that use no nodes.
            engine: ``streamed`` (blocks, no edge list) or ``edges`` (the PyG specification); ignored by nowcasters
                that have one way of computing.
            memory_budget: bytes that temporaries may take; None takes a chunk that fits the cache.

        Returns:
            (P,) float32 on the device of ``states``; neither ``states`` nor the nowcaster are changed.

        Raises:
            ValueError: for states that are not finite or do not fit the graph, or ``k`` out of range.
        """

    def check(self, graph: NeuralGraph, states: Any, k: int) -> None:
        """Raise the ``ValueError`` that ``predict`` promises for shapes and horizons it cannot use.

        Whether the states are finite is found out where they are read (``nino.nowcasters.states``).
        """
        wanted = f"exactly {self.context}" if self.context is not None else "at least 2"
        if len(states.shape) != 2 or states.shape[0] != graph.num_parameters:
            raise ValueError(
                f"`states` has shape {tuple(states.shape)}, but the graph has {graph.num_parameters} parameters: "
                f"pass ({graph.num_parameters}, {self.context or 'c'}) states of the model that the graph was made from"
            )
        if states.shape[1] != self.context if self.context is not None else states.shape[1] < 2:
            raise ValueError(f"`states` holds {states.shape[1]} states, but {type(self).__name__} reads {wanted}")
        if k < 1 or (self.max_horizon is not None and k > self.max_horizon):
            allowed = f"1..{self.max_horizon}" if self.max_horizon is not None else "1, 2, ..."
            raise ValueError(f"`k` (={k}) must be one of {allowed} states")
