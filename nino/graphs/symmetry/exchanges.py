"""What a graph calls interchangeable: heads, and other wholes, that may change places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nino.graphs.core import Block, Nodes
from nino.graphs.structure import GraphStructure
from nino.graphs.symmetry.atoms import Atoms
from nino.graphs.windows import window

#: Pairs of atoms of a group that are tried before it is taken for one without exchanges.
TRIES = 8

Label = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """Ranges of nodes that change places with others, such that the graph is mapped onto itself.

    Args:
        wiring: of the graph.
        moves: first node of each range, and that of the range whose place it takes.
        names: the group that the exchange began with.
    """

    wiring: Wiring
    moves: dict[int, int]
    names: tuple[str, ...]

    def applied(self, flat: Float[Tensor, " params"]) -> Float[Tensor, " params"]:
        """The parameters, which are contiguous, after the exchange."""
        wiring, moves, out = self.wiring, self.moves, flat.clone()
        for i in {i for a in moves for i, _ in wiring.at[a]}:
            b = wiring.blocks[i]
            if b.weight is None:
                continue
            old = window(flat, b)
            for s, t in wiring.pieces(i):
                j = wiring.holder(i, s, t, moves)
                assert j is not None
                there, new = wiring.blocks[j], window(out, wiring.blocks[j])
                to = moves.get(s, s) - there.source.start, moves.get(t, t) - there.target.start
                n, m = wiring.atoms.size[s], wiring.atoms.size[t]
                s, t = s - b.source.start, t - b.target.start
                if b.kind == "diagonal":
                    new[to[0] : to[0] + n].copy_(old[s : s + n])
                else:
                    new[to[0] : to[0] + n, to[1] : to[1] + m].copy_(old[s : s + n, t : t + m])
        return out

    def places(self) -> Int[Tensor, " nodes"]:
        """For each node, the node that takes its place."""
        source = torch.arange(self.wiring.atoms.graph.num_nodes)
        for a, b in self.moves.items():
            size = self.wiring.atoms.size[a]
            source[b : b + size] = torch.arange(a, a + size)
        return source


def exchanges(graph: GraphStructure) -> list[Exchange]:
    """Pairs of heads, and whatever else is cut into wholes, that change places and map the graph onto itself.

    One pair a group; what the pair is joined to goes with it.
    """
    atoms = Atoms(graph)
    wiring = Wiring(atoms)
    by_moves: dict[frozenset[tuple[int, int]], Exchange] = {}
    for name, nodes in graph.groups.items():
        first, *others = atoms.of(nodes) or [0]
        if name in graph.fixed:
            continue
        alike = (x for x in others if atoms.size[x] == atoms.size[first])
        for other in islice(alike, TRIES):
            moves = wiring.exchange(first, other)
            if moves is not None:
                by_moves.setdefault(frozenset(moves.items()), Exchange(wiring, moves, (name,)))
                break
    return list(by_moves.values())


class Wiring:
    """Which blocks join which atoms: what an atom is joined to must go where its counterpart's neighbours are.

    Args:
        atoms: of the graph.
    """

    def __init__(self, atoms: Atoms) -> None:
        """See the class."""
        self.atoms = atoms
        self.blocks = atoms.graph.blocks
        self.labels: list[Label] = []
        parallel: dict[Label, int] = defaultdict(int)  # a kernel of more positions than an edge holds
        for b in self.blocks:
            key = (b.name if b.weight else None, b.edge_type, b.kind, b.features)
            self.labels.append((*key, parallel[(*key, b.source, b.target)]))
            parallel[(*key, b.source, b.target)] += 1
        self.at: dict[int, list[tuple[int, int]]] = defaultdict(list)  # atom: (block, side)
        for i, b in enumerate(self.blocks):
            for side, nodes in enumerate((b.source, b.target)):
                for x in atoms.of(nodes):
                    self.at[x].append((i, side))

    def exchange(self, one: int, other: int) -> dict[int, int] | None:
        """All atoms that move where two of them change places; None where the graph is not mapped onto itself."""
        moves: dict[int, int] = {}
        waiting = [(one, other)]
        while waiting:
            a, b = waiting.pop()
            if moves.get(a, b) != b or moves.get(b, a) != a or self.atoms.size[a] != self.atoms.size[b]:
                return None
            if a == b or a in moves:
                continue
            if {self.atoms.owner.get(a), self.atoms.owner.get(b)} & self.atoms.graph.fixed:
                return None
            moves[a], moves[b] = b, a
            neighbours = self._neighbours(a, b)
            if neighbours is None:
                return None
            waiting += neighbours
        return moves if all(self._mapped(i, moves) for i in {i for a in moves for i, _ in self.at[a]}) else None

    def _neighbours(self, a: int, b: int) -> list[tuple[int, int]] | None:
        """Pairs of atoms that must change places because ``a`` and ``b`` do."""
        out: list[tuple[int, int]] = []
        of_a, of_b = (self._by_label(x) for x in (a, b))
        if of_a.keys() != of_b.keys():
            return None
        for key, mine in of_a.items():
            both = set(mine) & set(of_b[key])
            for i in both:
                if self.blocks[i].kind == "diagonal":
                    out.append((self._partner(i, a, key), self._partner(i, b, key)))
            left, right = ([i for i in some if i not in both] for some in (mine, of_b[key]))
            if len(left) != len(right):
                return None
            for i, j in zip(left, right, strict=True):
                if self.blocks[i].kind == "diagonal":
                    out.append((self._partner(i, a, key), self._partner(j, b, key)))
                    continue
                ones, others = (self.atoms.of(_other_end(self.blocks[n], key)) for n in (i, j))
                if len(ones) != len(others):
                    return None
                out += zip(ones, others, strict=True) if ones != others else ()
        return out

    def _by_label(self, atom: int) -> dict[Label, list[int]]:
        out: dict[Label, list[int]] = defaultdict(list)
        for i, side in sorted(self.at[atom], key=lambda x: _ends(self.blocks[x[0]])[1 - x[1]].start):
            out[(*self.labels[i], side)].append(i)
        return out

    def _partner(self, i: int, atom: int, key: Label) -> int:
        mine, other = _ends(self.blocks[i]) if key[-1] == 0 else _ends(self.blocks[i])[::-1]
        return atom - mine.start + other.start

    def _mapped(self, i: int, moves: dict[int, int]) -> bool:
        """Whether there are edges like those of a block wherever they are moved to."""
        return all(self.holder(i, s, t, moves) is not None for s, t in self.pieces(i))

    def pieces(self, i: int) -> Iterator[tuple[int, int]]:
        """Pairs of atoms that a block joins."""
        b = self.blocks[i]
        for s in self.atoms.of(b.source):
            yield from (
                [(s, s - b.source.start + b.target.start)]
                if b.kind == "diagonal"
                else ((s, t) for t in self.atoms.of(b.target))
            )

    def holder(self, i: int, s: int, t: int, moves: dict[int, int]) -> int | None:
        """The block that holds a piece once it has moved."""
        s, t = moves.get(s, s), moves.get(t, t)
        for j, side in sorted(self.at[s], key=lambda x: x[0] != i):  # itself first: parallel edges stay apart
            b = self.blocks[j]
            here = t - b.target.start == s - b.source.start if b.kind == "diagonal" else t in _range(b.target)
            if side == 0 and self.labels[j] == self.labels[i] and here:
                return j
        return None


def _ends(block: Block) -> tuple[Nodes, Nodes]:
    return block.source, block.target


def _other_end(block: Block, key: Label) -> Nodes:
    return _ends(block)[1 - int(key[-1])]  # type: ignore[call-overload]


def _range(nodes: Nodes) -> range:
    return range(nodes.start, nodes.stop)
