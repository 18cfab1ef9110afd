"""Neurons by number while a forward pass is read: which are one, which are tied, which keep their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nino.graphs.core import EdgeType

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Range:
    """Neurons made together.

    Args:
        name: what to call them.
        start: number of the first.
        size: how many.
    """

    name: str
    start: int
    size: int


class Universe:
    """All neurons that a recording has met, and the auxiliary edges between them.

    A neuron is an integer. It is *loose* while only a parameter's dimension has asked for it, and *met* once an
    activation has it: merging a loose neuron makes it another one, while two that are met stay two and are joined by
    an edge.
    """

    def __init__(self) -> None:
        """See the class."""
        self.ranges: list[Range] = []
        self._parent: Labels = np.zeros(0, dtype=np.int64)
        self._met = np.zeros(0, dtype=bool)
        self._fixed = np.zeros(0, dtype=bool)
        self._read = np.zeros(0, dtype=bool)
        self._slices = np.zeros(0, dtype=bool)
        self._used = 0
        self.edges: list[tuple[Labels, Labels, EdgeType]] = []
        self.roles: dict[EdgeType, list[Labels]] = {EdgeType.QUERY: [], EdgeType.KEY: [], EdgeType.VALUE: []}
        self.words: Labels | None = None
        self.shared: set[int] = set()
        self.reasons: dict[int, str] = {}
        self._derived: dict[tuple[bytes, int], Labels] = {}
        self._tied: Labels = np.zeros(0, dtype=np.int64)

    def new(self, name: str, shape: tuple[int, ...], *, met: bool = False, fixed: bool = False) -> Labels:
        """New neurons, numbered row by row.

        Args:
            name: what to call them.
            shape: shape of the result.
            met: whether they belong to an activation already.
            fixed: whether their order is part of the function.
        """
        size = int(np.prod(shape))
        start, self._used = self._used, self._used + size
        if self._used > len(self._parent):
            capacity = max(2 * len(self._parent), self._used, 1024)
            for table in ("_parent", "_tied"):
                grown = np.arange(capacity)
                grown[:start] = getattr(self, table)[:start]
                setattr(self, table, grown)
            for table in ("_met", "_fixed", "_read", "_slices"):
                flags = np.zeros(capacity, dtype=bool)
                flags[:start] = getattr(self, table)[:start]
                setattr(self, table, flags)
        self._met[start : self._used], self._fixed[start : self._used] = met, fixed
        self.ranges.append(Range(name.removesuffix(".weight"), start, size))
        return np.arange(start, self._used).reshape(shape)

    # -- identity ----------------------------------------------------------------------------------------------------

    def find(self, labels: Labels) -> Labels:
        """The neurons that stand for these ones after all mergers."""
        return _find(self._parent, labels)

    def met(self, labels: Labels) -> NDArray[np.bool_]:
        """Which of them belong to an activation."""
        return np.asarray(self._met[self.find(labels)])

    def meet(self, labels: Labels) -> None:
        """Say that an activation has these neurons."""
        self._met[self.find(labels)] = True

    def read(self, labels: Labels) -> None:
        """Say that a contraction reads these neurons."""
        self._read[self.find(labels)] = True

    def unread(self, labels: Labels) -> bool:
        """Whether no contraction has read any of them."""
        return not self._read[self.find(labels)].any()

    def stand_for_slices(self, labels: Labels) -> bool:
        """Whether these neurons stand for slices of others (see ``derived``)."""
        return bool(self._slices[labels].all())

    def fix(self, labels: Labels, reason: str) -> None:
        """Say that the order of these neurons is part of the function, and why."""
        roots = self.find(labels)
        first = roots.flat[0] if roots.size else -1
        self._fixed[roots] = True
        self.reasons.setdefault(int(first), reason)

    def fixed(self, labels: Labels) -> NDArray[np.bool_]:
        """Which of them keep their order."""
        return np.asarray(self._fixed[self.find(labels)])

    def merge(self, labels: Labels, into: Labels) -> None:
        """Make neurons one with others of the same shape."""
        one, other = self.find(labels).reshape(-1), self.find(np.broadcast_to(into, labels.shape)).reshape(-1)
        for a, b in zip(one.tolist(), other.tolist(), strict=True) if _repeats(one) else ():
            a, b = int(self.find(np.array(a))), int(self.find(np.array(b)))
            self._join(np.array([a]), np.array([b]))
        if not _repeats(one):
            self._join(one, other)

    def _join(self, one: Labels, other: Labels) -> None:
        apart = one != other
        one, other = one[apart], other[apart]
        self._met[other] |= self._met[one]
        self._fixed[other] |= self._fixed[one]
        self._read[other] |= self._read[one]
        self._parent[one] = other

    # -- edges ---------------------------------------------------------------------------------------------------------

    def link(self, source: Labels, target: Labels, edge_type: EdgeType = EdgeType.RESIDUAL) -> None:
        """Join neurons one by one by auxiliary edges (``source`` is broadcast)."""
        source = np.broadcast_to(source, target.shape)
        self.meet(source)
        self.meet(target)
        self.edges.append((source.reshape(-1), target.reshape(-1), edge_type))

    def tie(self, source: Labels, target: Labels) -> None:
        """Join neurons one by one where no chain of one-to-one edges says already that they go together."""
        one, other = (_find(self._tied, self.find(x).reshape(-1)) for x in (source, target))
        if not np.array_equal(one, other):
            self.link(source, target)
            if not _repeats(one):
                self._tied[one] = other

    def residual(self, source: Labels, target: Labels) -> None:
        """Carry each neuron over to another one, unless they are the same."""
        a, b = self.find(source), self.find(target)
        if np.array_equal(a, b):
            return
        self.link(source, target)
        one, other = _find(self._tied, a.reshape(-1)), _find(self._tied, b.reshape(-1))
        if not _repeats(one) and not np.isin(other, one).any():
            self._tied[one] = other

    def derived(self, labels: Labels, keep: tuple[int, ...], name: str) -> Labels:
        """Neurons that stand for the slices of an array of neurons: one for each index of the dimensions kept.

        Attention heads stand for the query neurons of each head, rotary frequencies for the neurons of each position
        in a head. Each is joined to the neurons that it stands for; asked twice, they are the same.
        """
        if len(keep) == labels.ndim:
            return labels
        sizes = tuple(labels.shape[d] for d in keep)
        rows = _rows(labels, keep)
        key, order = self._key(rows)
        if key not in self._derived:
            made = self.new(name, (len(rows),), met=True)
            self._slices[made] = True
            self.link(made[:, None], rows[order], EdgeType.HEAD)
            self._derived[key] = made
        return self._derived[key][np.argsort(order)].reshape(sizes)

    def _key(self, rows: Labels) -> tuple[tuple[bytes, int], Labels]:
        """What slices are known by, whatever their order and that of the neurons in them; and their order."""
        roots = self.find(rows)
        order = np.argsort(roots[:, 0], kind="stable")
        columns = np.argsort(roots[order[0]], kind="stable")
        return (roots[order][:, columns].tobytes(), len(rows)), order

    def has(self, labels: Labels, keep: tuple[int, ...]) -> bool:
        """Whether there are neurons that stand for these slices of an array."""
        return self._key(_rows(labels, keep))[0] in self._derived

    def _sliced(self, labels: Labels) -> list[tuple[int, ...]]:
        """Dimensions of an array for whose slices there are neurons that stand for them."""
        dims = range(labels.ndim)
        return [keep for n in range(labels.ndim) for keep in combinations(dims, n) if self.has(labels, keep)]

    def shares(self, labels: Labels) -> bool:
        """Whether slices of an array of neurons share a parameter (a norm that all heads have in common)."""
        made = [self.find(self.derived(labels, keep, "")).reshape(-1) for keep in self._sliced(labels)]
        return any(root in self.shared for roots in made for root in roots.tolist())

    def take(self, labels: Labels, into: Labels) -> None:
        """Merge an array that is met into another, and what stands for its slices into what stands for the other's."""
        dims = self._sliced(labels)
        pairs = [(self.derived(labels, keep, ""), self.derived(into, keep, "positions")) for keep in dims]
        self.merge(labels, into)
        for made, other in pairs:
            self.merge(made, other)

    def origin(self, labels: Labels) -> Labels:
        """Which range each neuron was made in, by number."""
        return np.searchsorted([r.start for r in self.ranges], labels, side="right") - 1

    def __iter__(self) -> Iterator[Range]:
        """Ranges in the order in which they were made."""
        return iter(self.ranges)


def _find(parent: Labels, labels: Labels) -> Labels:
    roots = np.asarray(parent[labels])
    while True:
        above = np.asarray(parent[roots])
        if np.array_equal(above, roots):
            break
        roots = above
    parent[labels] = roots
    return roots


def _rows(labels: Labels, keep: tuple[int, ...]) -> Labels:
    """An array of neurons as a matrix: a row for each index of the dimensions kept."""
    rest = [d for d in range(labels.ndim) if d not in keep]
    count = int(np.prod([labels.shape[d] for d in keep]))
    return np.ascontiguousarray(labels.transpose([*keep, *rest])).reshape(count, -1)


def _repeats(labels: Labels) -> bool:
    return len(np.unique(labels)) != labels.size
