"""Approximations of NiNo for networks that are too large for it as published: fewer messages, or a graph in parts.

The streamed engine needs neither; they are here to be compared with the exact nowcast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nino.graphs import NeuralGraph
from nino.graphs.parts import Part, block_of, layer_of, split
from nino.nowcasters.base import Nowcaster
from nino.nowcasters.engines.sample import EdgeSample
from nino.nowcasters.nino import NiNoNet
from nino.nowcasters.states import PartStates, as_states, last_state, require_finite
from nino.seeding import derive
from nino.threads import Workers, thread_count

PARTS: dict[str, Callable[[str], str]] = {"block": block_of, "layer": layer_of, "network": lambda _: ""}


class SampledEdges(nn.Module, Nowcaster):
    r"""NiNo with messages along a random share of the edges; all weights are predicted.

    A node averages a sample of its incoming messages. Positions are those of the whole graph. Each nowcast of a run
    draws another sample, from the seed, the horizon and the training step (``at_step``).

    Args:
        net: the network.
        share: of the edges with weights, each drawn independently, 0 < share <= 1; auxiliary edges and self-loops stay.
        seed: of the draws.

    Raises:
        ValueError: for another share.
    """

    equivariant = False

    def __init__(self, net: NiNoNet, share: float, seed: int = 0) -> None:
        """Check the share."""
        super().__init__()
        EdgeSample(share)
        self.net, self.share, self.seed = net, share, seed
        self.context: int = net.context
        self.max_horizon: int = net.max_horizon
        self._step = 0

    def at_step(self, step: int) -> None:
        """Remember the step: the sample depends on it, so that a resumed run draws the same ones."""
        self._step = step

    def extra_repr(self) -> str:
        """Share and seed."""
        return f"share={self.share}, seed={self.seed}"

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
        """See ``NiNoNet.predict``; the sample is the same for both engines."""
        sample = EdgeSample(self.share, derive(self.seed, f"step {self._step} horizon {k}"))
        return self.net.predict(
            graph, states, k, lpe=lpe, engine=engine, memory_budget=memory_budget, sample=sample, threads=threads
        )


class Divided(nn.Module, Nowcaster):
    """A nowcaster that predicts the parts of a network one after the other, each as a graph of its own.

    Messages do not leave a part, and node positions are computed in it. A parameter tensor is never divided, so that
    scaling by tensor does not change.

    Args:
        net: the nowcaster of a part.
        by: ``block`` (parameters whose names agree up to the first number: a layer of a transformer, a convolution),
            ``layer`` (weight and bias of a module) or ``network`` (one part).

    Raises:
        ValueError: for another ``by``.
    """

    def __init__(self, net: NiNoNet | SampledEdges, by: str = "block") -> None:
        """Check the name of the division."""
        super().__init__()
        if by not in PARTS:
            raise ValueError(f"`by` (={by!r}) must be one of {', '.join(PARTS)}")
        self.net, self.by = net, by
        self.context: int = net.context
        self.max_horizon: int = net.max_horizon
        self.equivariant = net.equivariant
        self._last: tuple[NeuralGraph, list[Part]] | None = None

    def extra_repr(self) -> str:
        """The division."""
        return f"by={self.by!r}"

    def at_step(self, step: int) -> None:
        """Tell the nowcaster of the parts."""
        self.net.at_step(step)

    def parts(self, graph: NeuralGraph) -> list[Part]:
        """The parts of a graph; those of the last graph are cached, with their positions."""
        if self._last is None or self._last[0] is not graph:
            self._last = graph, split(graph, PARTS[self.by])
        return self._last[1]

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
        """See ``NiNoNet.predict``; each part takes the rows of its nodes from ``lpe``, where it is given."""
        source = as_states(states)
        self.check(graph, source, k)
        require_finite(source, [p for p in graph.parameters if p.name in graph.carried])
        out = torch.empty(graph.num_parameters, device=source.device)
        with Workers(thread_count(threads), source.device) as workers:
            last_state(source, graph.parameters, out, workers)
        for part in self.parts(graph):
            states_of_part = PartStates(source, part.parameters)
            rows = None if lpe is None else lpe[part.nodes.to(lpe.device)]
            predicted = self.net.predict(
                part.graph, states_of_part, k, lpe=rows, engine=engine, memory_budget=memory_budget, threads=threads
            )
            for p in part.graph.parameters:
                out[part.parameters[p.name].slice] = predicted[p.slice]
        return out


def approximated(
    nowcaster: Nowcaster, edges: float | None = None, subgraphs: str | None = None, seed: int = 0
) -> Nowcaster:
    """A nowcaster with the approximations that are asked for.

    Args:
        nowcaster: NiNo where any is.
        edges: share of the edges that messages travel on, see ``SampledEdges``; None takes all.
        subgraphs: ``block`` or ``layer``, see ``Divided``; None leaves the graph whole.
        seed: of the sample of edges.

    Returns:
        The nowcaster itself where there is none.

    Raises:
        ValueError: for a nowcaster that sends no messages, and for values that are not allowed.
    """
    if edges is None and subgraphs is None:
        return nowcaster
    if not isinstance(nowcaster, NiNoNet):
        raise ValueError(
            f"`edges` (={edges}) and `subgraphs` (={subgraphs}) approximate NiNo's messages, and "
            f"{type(nowcaster).__name__} sends none: leave them out"
        )
    inner = nowcaster if edges is None else SampledEdges(nowcaster, edges, seed)
    return inner if subgraphs is None else Divided(inner, subgraphs)
