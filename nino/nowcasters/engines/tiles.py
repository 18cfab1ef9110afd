"""A graph's blocks cut into tiles: what the engines loop over."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import Block, EdgeType, NeuralGraph, Nodes


@dataclass(frozen=True)
class Tile:
    """A rectangle of a dense block's edges, or a run of a diagonal block's.

    Args:
        source: its sources, within the block.
        target: its targets, within the block.
        paired: whether the i-th source meets the i-th target only.
    """

    source: slice
    target: slice
    paired: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Sources x targets; (n, 1) of a diagonal run."""
        rows = self.source.stop - self.source.start
        return rows, 1 if self.paired else self.target.stop - self.target.start

    @property
    def num_edges(self) -> int:
        """Edges in the tile."""
        return self.shape[0] * self.shape[1]

    def first_weight(self, block: Block) -> int:
        """Index of the tile's first weight in the flat parameter vector; ``block`` is the one that it is cut from."""
        assert block.weight is not None
        along_sources, along_targets, _ = block.weight.strides
        start = block.weight.offset + self.source.start * along_sources
        return start if self.paired else start + self.target.start * along_targets


def tiles(block: Block, size: int, narrow: int = 8) -> list[Tile]:
    """Cut a block into tiles of at most ``size`` edges.

    Tiles have many sources and few targets, which sums over sources are fastest on, but at least ``narrow`` targets.

    >>> block = Block("w", Nodes(0, 3), Nodes(3, 2), EdgeType.RESIDUAL, "dense")
    >>> [t.shape for t in tiles(block, 4, narrow=2)]
    [(2, 2), (1, 2)]
    """
    sources, targets = block.source.size, block.target.size
    if block.kind == "diagonal":
        cuts = [slice(i, min(i + size, sources)) for i in range(0, sources, size)]
        return [Tile(cut, cut, True) for cut in cuts]
    rows = min(sources, max(size // min(narrow, targets), 1))
    columns = min(targets, max(size // rows, 1))
    return [
        Tile(slice(s, min(s + rows, sources)), slice(t, min(t + columns, targets)), False)
        for t in range(0, targets, columns)
        for s in range(0, sources, rows)
    ]


@overload
def within(nodes: Nodes, part: slice) -> slice: ...
@overload
def within(nodes: Nodes, part: slice | Tensor) -> slice | Tensor: ...
def within(nodes: Nodes, part: slice | Tensor) -> slice | Tensor:
    """A slice of a group, or numbers within it, as a slice or numbers of all nodes."""
    if isinstance(part, Tensor):
        return part + nodes.start
    return slice(nodes.start + part.start, nodes.start + part.stop)


def all_blocks(graph: NeuralGraph) -> list[Block]:
    """The graph's blocks and the self-loop that every node has."""
    return [*graph.blocks, Block("self-loops", graph.loops, graph.loops, EdgeType.SELF_LOOP, "diagonal")]


def degrees(graph: NeuralGraph) -> Float[Tensor, "nodes 1"]:
    """Incoming edges of every node, self-loop included; of a shared graph, all processes' edges."""
    degree = torch.zeros(graph.num_nodes, 1)
    for block in all_blocks(graph.whole):
        degree[block.target.slice] += block.source.size if block.kind == "dense" else 1
    return degree


def parameter_indices(graph: NeuralGraph) -> dict[int, int]:
    """The index of the parameter that each block's weights lie in, by the offset of the block's first weight."""
    starts = [(p.offset, index) for index, p in enumerate(graph.parameters) if p.numel]
    indices = {}
    for block in graph.blocks:
        if block.weight is not None:
            place = bisect_right(starts, (block.weight.offset, len(graph.parameters))) - 1
            indices[block.weight.offset] = starts[place][1]
    return indices
