"""The neural graph: named groups of neurons joined by blocks of edges.

Legend: N nodes, S sources and T targets of a block, F kernel positions on an edge.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from typing import Literal


class EdgeType(IntEnum):
    """What an edge stands for; the numbers are those the released weights were trained with (paper, section 3.2)."""

    PADDING = 0
    LINEAR = 1
    BIAS = 2
    CONV = 3
    NORM = 4
    WORD_EMBEDDING = 5
    POSITION_EMBEDDING = 6
    QUERY = 7
    KEY = 8
    VALUE = 9
    RESIDUAL = 10
    HEAD = 11
    RESERVED = 12
    SELF_LOOP = 13

    @property
    def auxiliary(self) -> bool:
        """Auxiliary edges carry a constant, take part in message passing and are never predicted."""
        return self >= EdgeType.RESIDUAL

    @property
    def constant(self) -> float:
        """First feature of an auxiliary edge in every state: 2 on self-loops, else 1."""
        return 2.0 if self is EdgeType.SELF_LOOP else 1.0


@dataclass(frozen=True, slots=True)
class Nodes:
    """A contiguous range of nodes.

    Args:
        start: first node.
        size: number of nodes.
    """

    start: int
    size: int

    @property
    def stop(self) -> int:
        """One past the last node."""
        return self.start + self.size

    @property
    def slice(self) -> builtins.slice:
        """The range as a slice into node arrays."""
        return slice(self.start, self.stop)

    def __contains__(self, part: Nodes) -> bool:
        """Whether all of ``part`` lies in the range.

        >>> Nodes(12, 2) in Nodes(10, 6), Nodes(12, 6) in Nodes(10, 6)
        (True, False)
        """
        return self.start <= part.start and part.stop <= self.stop

    def __getitem__(self, part: builtins.slice) -> Nodes:
        """A sub-range, by a slice of step 1.

        >>> Nodes(10, 6)[2:4]
        Nodes(start=12, size=2)
        """
        start, stop, step = part.indices(self.size)
        if step != 1:
            raise ValueError(f"`step` (={step}) of a node range must be 1")
        return Nodes(self.start + start, max(stop - start, 0))


@dataclass(frozen=True, slots=True)
class WeightView:
    """Where a block's weights lie in the flat parameter vector: a strided window, never a list of indices.

    Weight (s, t, f) of a dense block lies at ``offset + s*strides[0] + t*strides[1] + f*strides[2]``; weight (i, f)
    of a diagonal block at ``offset + i*strides[0] + f*strides[2]``.

    Args:
        offset: index of the first element.
        strides: steps along source, target and kernel position, in elements.
    """

    offset: int
    strides: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Block:
    """All edges from a range of source nodes to a range of target nodes that share a type.

    Args:
        name: the parameter, or a name of its own for auxiliary edges.
        source: S source nodes.
        target: T target nodes.
        edge_type: one type for all edges.
        kind: ``dense`` joins every source to every target, ``diagonal`` the i-th to the i-th (S = T).
        weight: the window on the flat parameter vector; None for auxiliary edges.
        features: kernel positions F on each edge (h*w of a convolution, else 1).
    """

    name: str
    source: Nodes
    target: Nodes
    edge_type: EdgeType
    kind: Literal["dense", "diagonal"]
    weight: WeightView | None = None
    features: int = 1

    def __post_init__(self) -> None:
        """Refuse blocks whose ranges do not fit their kind."""
        if self.kind == "diagonal" and self.source.size != self.target.size:
            raise ValueError(
                f"block {self.name!r}: a diagonal block needs as many sources (={self.source.size}) "
                f"as targets (={self.target.size})"
            )
        if (self.weight is None) != self.edge_type.auxiliary:
            raise ValueError(
                f"block {self.name!r}: edges of type {self.edge_type.name} "
                f"{'carry no weight' if self.edge_type.auxiliary else 'need a weight'}"
            )

    @property
    def num_edges(self) -> int:
        """S*T edges of a dense block, S of a diagonal one."""
        return self.source.size * (self.target.size if self.kind == "dense" else 1)

    @property
    def num_weights(self) -> int:
        """Parameters on the block's edges."""
        return 0 if self.weight is None else self.num_edges * self.features


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter tensor's place in the flat vector (``named_parameters`` order, each flattened row by row).

    Args:
        name: as in ``named_parameters``; a tied tensor appears once.
        offset: its first element in the flat vector.
        shape: its shape.
    """

    name: str
    offset: int
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def slice(self) -> builtins.slice:
        """Its part of the flat vector."""
        return slice(self.offset, self.offset + self.numel)
