"""What a graph calls interchangeable: ranges of nodes that may be renumbered."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

from nino.graphs.core import Nodes
from nino.graphs.structure import GraphStructure


@dataclass(frozen=True, slots=True)
class Renumbering:
    """Ranges of nodes that are renumbered in the same way.

    Args:
        atoms: first nodes of the ranges.
        size: nodes in each.
        names: groups that they lie in.
    """

    atoms: tuple[int, ...]
    size: int
    names: tuple[str, ...]


class Atoms:
    """The node axis cut at every end of a block and of a group, through blocks of one-to-one edges too.

    Args:
        graph: the graph.
    """

    def __init__(self, graph: GraphStructure) -> None:
        """See the class."""
        self.graph = graph
        cuts = {0, graph.num_nodes}
        for nodes in graph.groups.values():
            cuts |= {nodes.start, nodes.stop}
        diagonals = [b for b in graph.blocks if b.kind == "diagonal"]
        for b in graph.blocks:
            cuts |= {b.source.start, b.source.stop, b.target.start, b.target.stop}
        while True:
            more = set()
            ordered = sorted(cuts)
            for b in diagonals:
                for one, other in ((b.source, b.target), (b.target, b.source)):
                    more |= {x - one.start + other.start for x in _inside(ordered, one)}
            if more <= cuts:
                break
            cuts |= more
        ends = sorted(cuts)
        self.starts = ends[:-1]
        self.size = {a: b - a for a, b in pairwise(ends)}
        self.owner = {x: name for name, nodes in graph.groups.items() for x in self.of(nodes)}
        self._parent = {x: x for x in self.starts}
        for b in diagonals:
            for x in self.of(b.source):
                self._parent[self.root(x)] = self.root(x - b.source.start + b.target.start)
        self._fixed = {self.root(x) for x, name in self.owner.items() if name in graph.fixed}

    def of(self, nodes: Nodes) -> list[int]:
        """First nodes of the atoms in a range."""
        return self.starts[bisect_left(self.starts, nodes.start) : bisect_left(self.starts, nodes.stop)]

    def root(self, atom: int) -> int:
        """What stands for all atoms that are joined to this one, one to one."""
        while self._parent[atom] != atom:
            self._parent[atom] = self._parent[self._parent[atom]]
            atom = self._parent[atom]
        return atom

    def fixed(self, atom: int) -> bool:
        """Whether the atom is joined one to one to one whose order is part of the function."""
        return self.root(atom) in self._fixed


def renumberings(graph: GraphStructure) -> list[Renumbering]:
    """Sets of node ranges that may be renumbered together without changing the graph.

    Ranges joined one to one go together. Sets with a range in a fixed group, or of one node, are left out.
    """
    atoms = Atoms(graph)
    sets: dict[int, list[int]] = defaultdict(list)
    for x in atoms.starts:
        sets[atoms.root(x)].append(x)
    return [
        Renumbering(tuple(some), atoms.size[some[0]], tuple(dict.fromkeys(atoms.owner.get(x, "?") for x in some)))
        for some in sets.values()
        if not atoms.fixed(some[0]) and atoms.size[some[0]] > 1
    ]


def _inside(ordered: list[int], nodes: Nodes) -> list[int]:
    return ordered[bisect_right(ordered, nodes.start) : bisect_left(ordered, nodes.stop)]
