"""Ranges of neurons in a declaration, before their nodes have numbers."""

from __future__ import annotations

from dataclasses import dataclass

from nino.graphs.core import Nodes


@dataclass(frozen=True, slots=True)
class Neurons:
    """A range of a declared group; node numbers are given when the graph is built.

    Args:
        group: the group's name.
        start: first neuron within the group.
        size: number of neurons.
    """

    group: str
    start: int
    size: int

    def __getitem__(self, part: slice) -> Neurons:
        """A sub-range, by a slice of step 1.

        >>> Neurons("h", 0, 6)[2:4]
        Neurons(group='h', start=2, size=2)
        """
        inside = Nodes(self.start, self.size)[part]
        return Neurons(self.group, inside.start, inside.size)

    def split(self, parts: int) -> list[Neurons]:
        """Cut into equal consecutive parts.

        >>> [n.start for n in Neurons("q", 0, 6).split(3)]
        [0, 2, 4]
        """
        if parts < 1 or self.size % parts:
            raise ValueError(
                f"group {self.group!r}: {self.size} neurons do not split into `parts` (={parts}) equal parts"
            )
        size = self.size // parts
        return [self[i * size : (i + 1) * size] for i in range(parts)]
