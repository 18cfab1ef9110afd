"""Nowcasters that look at each parameter tensor, or each scalar, alone and need no graph but its parameter list."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import NeuralGraph, Parameter
from nino.nowcasters.base import Nowcaster
from nino.nowcasters.states import as_states, pieces, require_finite
from nino.threads import Workers, thread_count


class Pointwise(Nowcaster):
    """Base of nowcasters whose updates of a parameter depend on that parameter's states alone."""

    needs_graph = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Set ``shares``: processes can share the work of a class that computes element by element."""
        super().__init_subclass__(**kwargs)
        cls.shares = cls.finish is Pointwise.finish and cls.predict is Pointwise.predict

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
        """See ``Nowcaster.predict``; ``lpe``, ``engine`` and ``memory_budget`` make no difference."""
        source = as_states(states)
        self.check(graph, source, k)
        require_finite(source, graph.parameters)
        out = torch.empty(graph.num_parameters, device=source.device)

        def predict(place: tuple[Parameter, slice, list[Tensor]]) -> None:
            p, piece, parts = place
            window = torch.cat([part.float() for part in parts], dim=1)
            last = out[p.offset + piece.start : p.offset + piece.stop]
            last.copy_(window[:, -1])
            if p.name not in graph.carried:
                last += self.update(window, k, p)

        with torch.inference_mode(), Workers(thread_count(threads), source.device) as workers:
            workers.run(predict, ((p, *part) for p in graph.parameters for part in pieces(source, p)))
            workers.run(
                lambda p: self.finish(out, source, k, p), (p for p in graph.parameters if p.name not in graph.carried)
            )
        return out

    @abstractmethod
    def update(
        self, states: Float[Tensor, "elements states"], k: int, parameter: Parameter
    ) -> Float[Tensor, " elements"]:
        """What to add to the last state.

        Args:
            states: float32, some elements of one parameter, oldest state first.
            k: horizon.
            parameter: the parameter that they belong to.

        Returns:
            An update of each element, float32.
        """

    def finish(  # noqa: B027 (optional hook)
        self, out: Float[Tensor, " params"], states: Any, k: int, parameter: Parameter
    ) -> None:
        """Change a whole parameter's prediction in ``out``, once all its elements are there."""
