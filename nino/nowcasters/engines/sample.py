"""A random share of a neural graph's edges, drawn a piece at a time and the same for every engine and chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nino.graphs import Block, NeuralGraph, Parameter
from nino.nowcasters.engines.tiles import all_blocks
from nino.seeding import derive

PIECE = 1 << 16  # edges drawn at a time; another number would be another sample


@dataclass(frozen=True)
class Picked:
    """Some edges of a block, as a tile of pairs.

    Args:
        source: their sources within the block.
        target: their targets within the block.
    """

    source: Int[Tensor, " edges"]
    target: Int[Tensor, " edges"]
    paired: bool = True

    @property
    def shape(self) -> tuple[int, int]:
        """(n, 1)."""
        return len(self.source), 1

    def places(self, block: Block, parameter: Parameter) -> Int[Tensor, "edges 1 features"]:
        """Where the edges' weights lie in their parameter."""
        assert block.weight is not None
        along, across, inner = block.weight.strides
        start = block.weight.offset - parameter.offset + self.source * along
        if block.kind == "dense":
            start = start + self.target * across
        return start[:, None, None] + inner * torch.arange(block.features, device=start.device)


@dataclass(frozen=True)
class EdgeSample:
    """Which edges messages travel on: each edge with a weight with the same probability, independently of the others.

    Auxiliary edges and self-loops, of which there are about as many as nodes, are all kept.

    Args:
        share: probability, 0 < share <= 1.
        seed: of the draws.

    Raises:
        ValueError: for another share.
    """

    share: float
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse shares that leave no messages or are none."""
        if not 0 < self.share <= 1:
            raise ValueError(f"`share` (={self.share}) of the edges must be above 0 and at most 1")

    def numbers(self, index: int, block: Block) -> Iterator[Int[Tensor, " sampled"]]:
        """Sampled edges of a block, by their ascending numbers in it, a piece at a time.

        Args:
            index: place of the block among ``all_blocks``.
            block: one with weights.
        """
        draw = torch.Generator().manual_seed(derive(self.seed, f"edges {index} {block.name}"))
        for first in range(0, block.num_edges, PIECE):
            size = min(PIECE, block.num_edges - first)
            yield first + (torch.rand(size, generator=draw) < self.share).nonzero().flatten()

    def tiles(self, index: int, block: Block, size: int, device: torch.device) -> Iterator[Picked]:
        """Sampled edges of a block in tiles of at most ``size`` of them."""
        width = block.target.size if block.kind == "dense" else 1
        for numbers in self.numbers(index, block):
            for part in numbers.to(device).split(size):
                if len(part):
                    source = part // width
                    yield Picked(source, part % width if block.kind == "dense" else source)

    def degrees(self, graph: NeuralGraph) -> Float[Tensor, "nodes 1"]:
        """Sampled incoming edges of every node, self-loop included."""
        degree = torch.zeros(graph.num_nodes, 1)
        for index, block in enumerate(all_blocks(graph)):
            into = degree[block.target.slice]
            if block.weight is None:
                into += block.source.size if block.kind == "dense" else 1
                continue
            for tile in self.tiles(index, block, PIECE, torch.device("cpu")):
                into += torch.bincount(tile.target, minlength=block.target.size)[:, None]
        return degree

    def edges(self, graph: NeuralGraph) -> Int[Tensor, " sampled"]:
        """Sampled edges by their numbers in the graph's edge list, ascending."""
        sampled, first = [], 0
        for index, block in enumerate(all_blocks(graph)):
            whole = [torch.arange(block.num_edges)]
            sampled += [first + part for part in (self.numbers(index, block) if block.weight is not None else whole)]
            first += block.num_edges
        return torch.cat(sampled)
