"""A graph's blocks cut into tiles: what the engines loop over."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import Block, EdgeType, NeuralGraph, Nodes
from nino.graphs.structure import GraphStructure

NODE = 4  # edges whose work is about that of a node
LINE = 16  # float32 values that a processor fetches together, often those of as many neighbouring targets
SHARES = 8  # ranges at least that a large graph is cut into; in wide ones, what is read of a source serves many targets


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

    def parts(self, size: int) -> list[tuple[Tile, slice]]:
        """Tiles of at most ``size`` edges that share its targets out, and where their edges lie among its own.

        Edges with the same target lie side by side; those of one target are not cut.

        >>> [(part.target, edges) for part, edges in Tile(slice(0, 2), slice(4, 7), False).parts(4)]
        [(slice(4, 6, None), slice(0, 4, None)), (slice(6, 7, None), slice(4, 6, None))]
        """
        if self.num_edges <= size:
            return [(self, slice(0, self.num_edges))]
        rows, first = self.shape[0], self.target.start
        targets = cuts(self.target, max(size // rows, 1))
        return [
            (Tile(self.source, t, False), slice((t.start - first) * rows, (t.stop - first) * rows)) for t in targets
        ]

    def first_weight(self, block: Block) -> int:
        """Index of the tile's first weight in the flat parameter vector; ``block`` is the one that it is cut from."""
        assert block.weight is not None
        along_sources, along_targets, _ = block.weight.strides
        start = block.weight.offset + self.source.start * along_sources
        return start if self.paired else start + self.target.start * along_targets


def tiles(
    block: Block, size: int, narrow: int = 8, targets: slice | None = None, room: int | None = None
) -> list[Tile]:
    """Cut a block into tiles of at most ``size`` edges and nearly equal sides.

    Tiles have many sources and few targets, which sums over sources are fastest on, but at least ``narrow`` targets.
    Those of the same targets follow each other.

    Args:
        block: the block.
        size: edges.
        narrow: see above.
        targets: those to cut, within the block; None takes all.
        room: edges at most where tiles may have more targets than fit ``size``, see ``Tile.parts``.

    >>> block = Block("w", Nodes(0, 3), Nodes(3, 2), EdgeType.RESIDUAL, "dense")
    >>> [t.shape for t in tiles(block, 4, narrow=2)]
    [(2, 2), (1, 2)]
    """
    targets = targets or slice(0, block.target.size)
    if block.kind == "diagonal":
        return [Tile(cut, cut, True) for cut in cuts(targets, size)]
    width = targets.stop - targets.start
    rows = cuts(slice(0, block.source.size), max(size // min(narrow, width), 1))
    columns = cuts(targets, max((room or size) // (rows[0].stop - rows[0].start), 1))
    return [Tile(row, column, False) for column in columns for row in rows]


def cuts(whole: slice, most: int) -> list[slice]:
    """A range in the fewest pieces of at most ``most``, nearly equal."""
    size = whole.stop - whole.start
    step = -(-size // -(-size // most))
    return [slice(i, min(i + step, whole.stop)) for i in range(whole.start, whole.stop, step)]


@dataclass(frozen=True)
class Inflow:
    """A range of target nodes and all edges that end there.

    Args:
        nodes: the range, among all nodes.
        parts: number of a block, the block, and which of its targets lie in the range.
    """

    nodes: slice
    parts: list[tuple[int, Block, slice]]


def inflows(graph: NeuralGraph, size: int | None) -> list[Inflow]:
    """Cut the nodes into ranges of about ``size`` incoming edges, or of up to 16 nodes that have more each.

    Args:
        graph: self-loops are added.
        size: edges; None takes all nodes together.
    """
    blocks = all_blocks(graph)
    cuts = [0, graph.num_nodes]
    if size is not None:
        degree = degrees(graph).flatten().double() + NODE
        together = min(max(int(degree.sum() / SHARES / degree.max()), 1), LINE)
        work = degree.clamp(max=size // together).cumsum(0)
        bounds = size * torch.arange(1, int(work[-1]) // size + 1, dtype=torch.float64)
        cuts = sorted({*cuts, *torch.searchsorted(work, bounds, right=True).tolist()})
    parts: list[list[tuple[int, Block, slice]]] = [[] for _ in cuts[1:]]
    for index, block in enumerate(blocks):
        target = block.target
        for place in range(bisect_right(cuts, target.start) - 1, bisect_left(cuts, target.start + target.size)):
            first, stop = max(cuts[place], target.start), min(cuts[place + 1], target.start + target.size)
            if first < stop:
                parts[place].append((index, block, slice(first - target.start, stop - target.start)))
    return [Inflow(slice(a, b), own) for a, b, own in zip(cuts, cuts[1:], parts, strict=False)]


@overload
def within(nodes: Nodes, part: slice) -> slice: ...
@overload
def within(nodes: Nodes, part: slice | Tensor) -> slice | Tensor: ...
def within(nodes: Nodes, part: slice | Tensor) -> slice | Tensor:
    """A slice of a group, or numbers within it, as a slice or numbers of all nodes."""
    if isinstance(part, Tensor):
        return part + nodes.start
    return slice(nodes.start + part.start, nodes.start + part.stop)


@overload
def shifted(part: slice, first: int) -> slice: ...
@overload
def shifted(part: slice | Tensor, first: int) -> slice | Tensor: ...
def shifted(part: slice | Tensor, first: int) -> slice | Tensor:
    """The same nodes by their numbers after number ``first``."""
    if isinstance(part, Tensor):
        return part - first
    return slice(part.start - first, part.stop - first)


def all_blocks(graph: GraphStructure) -> list[Block]:
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
