"""Neurons that were made together, cut into parts, treated apart and rejoined: no two parts are interchangeable."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from nino.graphs.core import EdgeType
from nino.graphs.recorded.neurons import Labels, Universe


class Parts:
    """Which neurons have been cut out of an array, and which have been put side by side again.

    Args:
        neurons: all neurons.
    """

    def __init__(self, neurons: Universe) -> None:
        """See the class."""
        self._neurons = neurons
        self._cuts: set[bytes] = set()
        self._rejoined: list[tuple[list[Labels], list[int]]] = []
        self._spread: dict[bytes, Labels] = {}

    def cut(self, labels: Labels) -> None:
        """Say that these neurons are some of an array's, taken out of it."""
        self._cuts.add(np.sort(labels, axis=None).tobytes())

    def is_cut(self, labels: Labels) -> bool:
        """Whether these neurons have been taken out of an array."""
        return np.sort(labels, axis=None).tobytes() in self._cuts

    def rejoined(self, rows: list[Labels], paths: list[int]) -> None:
        """Say that these neurons are side by side, each row after operations of its own (see ``Value.path``)."""
        if len(set(paths)) > 1:
            self._rejoined.append((rows, paths))

    def spread(self, labels: Labels) -> None:
        """Say that these neurons, cut out of an array, meet several others each, as other parts may otherwise."""
        self._spread.setdefault(np.sort(labels, axis=None).tobytes(), labels)

    def tell_apart(self) -> None:
        """Join the neurons of each treatment to a node of fixed order, where nothing else tells them apart."""
        self.rejoined(list(self._spread.values()), list(range(len(self._spread))))
        for rows, paths in self._rejoined:
            by_path = defaultdict(list)
            for row, path in zip(rows, paths, strict=True):
                by_path[path].append(self._neurons.find(row).reshape(-1))
            parts = [np.unique(np.concatenate(some)) for some in by_path.values()]
            origins = [self._neurons.origin(part) for part in parts]
            for origin in np.unique(np.concatenate(origins)):
                mine = [part[made == origin] for part, made in zip(parts, origins, strict=True)]
                mine = [part for part in mine if part.size]
                if len(mine) > 1 and not self._told(mine):
                    for part in mine:
                        node = self._neurons.new("part", (1,), met=True, fixed=True)
                        self._neurons.link(node, part, EdgeType.HEAD)

    def _told(self, parts: list[Labels]) -> bool:
        """Whether no neuron of a part is joined to the same nodes of fixed order as one of another part."""
        n = self._neurons
        roots = np.concatenate(parts)
        fixed_roots = zip(roots.tolist(), n.fixed(roots).tolist(), strict=True)
        marks: dict[int, set[int]] = {root: {root} if fixed else set() for root, fixed in fixed_roots}
        for source, target, kind in n.edges:
            s, t = n.find(source), n.find(target)
            chosen = n.fixed(s) & np.isin(t, roots) & (kind is EdgeType.HEAD)
            for a, b in zip(s[chosen].tolist(), t[chosen].tolist(), strict=True):
                marks[b].add(a)
        seen = [{frozenset(marks[root]) for root in part.tolist()} for part in parts]
        return sum(map(len, seen)) == len(set.union(*seen))
