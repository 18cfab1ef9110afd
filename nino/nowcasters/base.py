"""What every nowcaster is: past parameter states and a graph in, future parameters out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float
from torch import Tensor

from nino.graphs import NeuralGraph


class Nowcaster(ABC):
    r"""Predicts the parameters k states ahead, :math:`\hat\theta_{t+k} = f(\theta_{t-c+1}, \dots, \theta_t; k)`.

    Attributes:
        context: states c that ``predict`` reads (5 in the paper); None where it reads any number from 2 on.
        max_horizon: largest k; None where it takes any k >= 1.
        fixed_horizon: the only k that it takes; None where it takes several.
        equivariant: whether permuting the hidden neurons of the network permutes the prediction in the same way.
            ``nino.nowcasters.contract`` checks it.
        needs_graph: whether it reads what an edge joins. Where not, each parameter's kind is enough.
        shares: whether processes can share its work: ``predict`` then takes a process's share of a graph
            (``nino.graphs.shares``), with the states of this share. Where not, one process computes for all.
    """

    context: int | None = 5
    max_horizon: int | None = None
    fixed_horizon: int | None = None
    equivariant: bool = True
    needs_graph: bool = True
    shares: bool = False

    def at_step(self, step: int) -> None:  # noqa: B027 (optional hook)
        """Called with the training step before each ``predict``, for nowcasters that draw random numbers by step."""

    @abstractmethod
    def predict(
        self,
        graph: NeuralGraph,
        states: Any,
        k: int,
        *,
        lpe: Float[Tensor, "nodes lpe"] | None = None,
        engine: str = "streamed",
        memory_budget: int | None = None,
        threads: int | None = None,
    ) -> Float[Tensor, " params"]:
        """Predict the parameters ``k`` states after the last one.

        Args:
            graph: the network's neural graph.
            states: (params, states) floating point, oldest state first, rows in ``named_parameters`` order, of any
                strides and on any device; or a ``FileStates`` over files.
            k: horizon in states, 1 <= k <= ``max_horizon``.
            lpe: node positions; None takes ``graph.lpe()``. Ignored by nowcasters that use no nodes.
            engine: ``streamed`` (tile by tile, no edge list) or ``edges`` (the specification, on an edge list); ignored
                by nowcasters that have one way of computing.
            memory_budget: bytes that temporaries may take; None takes a chunk that fits the cache.
            threads: on a CPU; None takes the environment variable ``NINO_THREADS``, else torch's own number. No bit of
                the prediction depends on it.

        Returns:
            The prediction, float32 on the device of ``states``; neither ``states`` nor the nowcaster are changed.

        Raises:
            ValueError: for states that are not finite or do not fit the graph, or ``k`` out of range.
        """

    def check(self, graph: NeuralGraph, states: Any, k: int) -> None:
        """Raise the ``ValueError`` that ``predict`` promises for shapes and horizons it cannot use.

        It does not read the states: those that are not finite are refused by ``nino.nowcasters.states``.
        """
        needed = f"exactly {self.context}" if self.context is not None else "at least 2"
        if len(states.shape) != 2 or states.shape[0] != graph.num_parameters:
            raise ValueError(
                f"`states` has shape {tuple(states.shape)}, but the graph has {graph.num_parameters} parameters: "
                f"pass ({graph.num_parameters}, {self.context or 'c'}) states of the model that the graph was made from"
            )
        if states.shape[1] != self.context if self.context is not None else states.shape[1] < 2:
            raise ValueError(f"`states` holds {states.shape[1]} states, but {type(self).__name__} reads {needed}")
        if k < 1 or (self.max_horizon is not None and k > self.max_horizon):
            allowed = f"1..{self.max_horizon}" if self.max_horizon is not None else "1, 2, ..."
            raise ValueError(f"`k` (={k}) must be one of {allowed} states")


def check_windows(
    net: Nowcaster,
    graph: NeuralGraph,
    states: Tensor,
    targets: Tensor,
    mask: Tensor,
) -> None:
    """Raise for training windows that do not fit each other, the graph or the nowcaster.

    Args:
        net: reads c states and predicts up to K.
        graph: shared by the windows.
        states: (windows, params, states).
        targets: (windows, params, horizons).
        mask: (windows, horizons).

    Raises:
        ValueError: names the argument with its shape and the expected one, or says that the mask is empty.
    """
    windows, horizons = states.shape[0], mask.shape[-1]
    expected = {
        "states": (states, (windows, graph.num_parameters, net.context)),
        "targets": (targets, (windows, graph.num_parameters, horizons)),
        "mask": (mask, (windows, min(horizons, net.max_horizon or horizons))),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"`{name}` has shape {tuple(tensor.shape)}, expected {shape}")
    if not bool(mask.any()):
        raise ValueError("`mask` is False everywhere: there is no target to learn from")
