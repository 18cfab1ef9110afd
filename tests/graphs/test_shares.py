"""Shares of a graph: together they are the graph, whatever boxes of the parameters the processes hold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.models import build
from nino.graphs import NeuralGraph, neural_graph
from nino.graphs.core import Block, EdgeType, Nodes, Parameter, WeightView
from nino.graphs.shares import Box, clip, share
from nino.graphs.windows import window
from nino.ranks import Ranks


def convnet() -> nn.Module:
    """The weights of the last layer have nine kernel positions along its columns, or a block each."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 5))


def graphs() -> dict[str, NeuralGraph]:
    small = convnet()
    return {
        "convnet": neural_graph(small, "exact", example=torch.randn(2, 1, 5, 5)),
        **{
            f"gpt2-{topology}": neural_graph(build("gpt2-1-8", "meta"), topology).sample_words(torch.arange(20))[0]
            for topology in ("released", "exact")
        },
    }


GRAPHS = graphs()


def boxes(graph: NeuralGraph, ranks: Ranks, dim: int) -> dict[str, Box]:
    """Each parameter cut along one dimension, as torch cuts it; scalars are rank 0's."""
    found: dict[str, Box] = {}
    for p in graph.parameters:
        cut = dim % len(p.shape)
        step = -(-p.shape[cut] // ranks.world)
        start, stop = (min(step * i, p.shape[cut]) for i in (ranks.rank, ranks.rank + 1))
        found[p.name] = tuple(slice(start, stop) if d == cut else slice(0, n) for d, n in enumerate(p.shape))
    return found


def edges(graph: NeuralGraph, elements: Tensor) -> list[tuple[int, ...]]:
    """Every edge: ends, type, and the elements of the whole graph's parameters on it."""
    found = []
    for block in graph.blocks:
        sources = torch.arange(block.source.start, block.source.stop)
        targets = torch.arange(block.target.start, block.target.stop)
        shape = (block.source.size, block.target.size) if block.kind == "dense" else (block.source.size,)
        ends = [sources.view(-1, *[1] * (len(shape) - 1)).expand(shape), targets.expand(shape)]
        columns = [e.reshape(-1, 1) for e in ends] + [torch.full((block.num_edges, 1), int(block.edge_type))]
        if block.weight is not None:
            columns.append(window(elements, block).reshape(block.num_edges, -1))
        found += [tuple(row) for row in torch.cat(columns, dim=1).tolist()]
    return found


def elements_of(graph: NeuralGraph, held: dict[str, Box]) -> Tensor:
    parts = []
    for p in graph.parameters:
        values, box = torch.arange(p.offset, p.offset + p.numel).view(p.shape), held[p.name]
        parts.append(values[:0].flatten() if box is None else values[box].flatten())
    return torch.cat(parts)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("name", GRAPHS)
def test_shares_together_are_the_graph(name: str, dim: int, world: int) -> None:
    graph = GRAPHS[name]
    whole = edges(graph, torch.arange(graph.num_parameters))
    together: list[tuple[int, ...]] = []
    loops: list[int] = []
    for rank in range(world):
        held = boxes(graph, Ranks(rank, world), dim)
        part = share(graph, held, Ranks(rank, world))
        assert part.whole is graph and part.num_nodes == graph.num_nodes
        together += edges(part, elements_of(graph, held))
        loops += range(part.loops.start, part.loops.stop)
    assert sorted(together) == sorted(whole)
    assert loops == list(range(graph.num_nodes))


def test_two_axes_along_a_cut_dimension() -> None:
    """Sources of stride 3 and targets of stride 1 in one row of nine, cut within a source's targets."""
    parameter = Parameter("w", 0, (9,))
    block = Block(
        "w", Nodes(0, 3), Nodes(3, 3), edge_type=EdgeType.LINEAR, kind="dense", weight=WeightView(0, (3, 1, 1))
    )
    clipped = clip(block, parameter, (slice(2, 8),), 0)
    found = [int(i) + 2 for b in clipped for i in window(torch.arange(6), b).flatten()]
    assert sorted(found) == list(range(2, 8))
    ends = {(b.source.start, b.source.stop, b.target.start, b.target.stop) for b in clipped}
    assert ends == {(0, 1, 5, 6), (1, 2, 3, 6), (2, 3, 3, 5)}


def test_a_cut_through_an_edge_is_refused() -> None:
    parameter = Parameter("w", 0, (2, 8))
    block = Block("w", Nodes(0, 2), Nodes(2, 2), EdgeType.CONV, "dense", WeightView(0, (4, 8, 1)), features=4)
    assert len(clip(block, parameter, (slice(0, 2), slice(0, 4)), 0)) == 1
    with pytest.raises(ValueError, match="both sides of a cut"):
        clip(block, parameter, (slice(0, 2), slice(0, 3)), 0)
