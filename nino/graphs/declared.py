"""From declared groups and blocks to numbered ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from nino.graphs.core import Block, EdgeType, Nodes, Parameter
from nino.graphs.neurons import Neurons
from nino.graphs.weights import view_of


@dataclass(frozen=True, slots=True)
class Declared:
    """A block before its nodes have numbers.

    Args:
        name: as in ``Block``.
        source: source neurons.
        target: target neurons.
        edge_type: type of all edges.
        kind: ``dense`` or ``diagonal``.
        weight: (S, T, F) window on the flat vector, (S, 1, F) of a diagonal block; None for auxiliary edges.
    """

    name: str
    source: Neurons
    target: Neurons
    edge_type: EdgeType
    kind: Literal["dense", "diagonal"]
    weight: Tensor | None = None

    def numbered(self, groups: Mapping[str, Nodes]) -> Block:
        """The block between the nodes that the groups have got."""
        source, target = (
            Nodes(groups[neurons.group].start + neurons.start, neurons.size) for neurons in (self.source, self.target)
        )
        weight = None if self.weight is None else view_of(self.weight)
        features = 1 if self.weight is None else self.weight.shape[2]
        return Block(self.name, source, target, self.edge_type, self.kind, weight, features)


def number_groups(
    order: Iterable[str], satellites: Mapping[str, Sequence[str]], sizes: Mapping[str, int]
) -> dict[str, Nodes]:
    """Give nodes to groups in order, a group's satellites just before it.

    >>> number_groups(["x", "y"], {"y": ["bias"]}, {"x": 2, "y": 3, "bias": 1})["y"]
    Nodes(start=3, size=3)
    """
    groups: dict[str, Nodes] = {}

    def number(names: Iterable[str], start: int) -> int:
        for name in names:
            start = number(satellites.get(name, ()), start)
            groups[name] = Nodes(start, sizes[name])
            start = groups[name].stop
        return start

    number(order, 0)
    return groups


def unplaced(parameters: Iterable[Parameter], blocks: Iterable[Declared]) -> list[str]:
    """Names of parameters that no block holds.

    Raises:
        ValueError: if blocks hold a parameter in part or twice.
    """
    held: dict[str, int] = {}
    for block in blocks:
        if block.weight is not None:
            held[block.name] = held.get(block.name, 0) + block.weight.numel()
    for p in parameters:
        if held.get(p.name, 0) not in (0, p.numel):
            raise ValueError(
                f"parameter {p.name!r} has {p.numel} elements, but {held[p.name]} lie on edges: "
                f"declare each element on exactly one edge"
            )
    return [p.name for p in parameters if p.numel and p.name not in held]
