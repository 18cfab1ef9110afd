"""What flows between layers: ranges of neurons, a network input, or something that is not understood."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nino.graphs.neurons import Neurons


@dataclass(frozen=True)
class Signal:
    """Channels (or features) of an activation, whatever its other dimensions.

    Args:
        parts: the neurons in order.
        flat: whether positions have been flattened into features, channel by channel.
        moved: whether dimensions have been permuted, so that flattening does not go channel by channel.
        fresh: whether this is a layer's own output, read by nothing else and with nothing non-linear since.
    """

    parts: tuple[Neurons, ...]
    flat: bool = False
    moved: bool = False
    fresh: bool = False

    @property
    def size(self) -> int:
        """Number of neurons."""
        return sum(part.size for part in self.parts)

    def cut(self, start: int, stop: int) -> Signal:
        """Neurons ``start`` to ``stop``, as a signal.

        >>> Signal((Neurons("a", 0, 3), Neurons("b", 0, 3))).cut(2, 4).parts
        (Neurons(group='a', start=2, size=1), Neurons(group='b', start=0, size=1))
        """
        parts, first = [], 0
        for part in self.parts:
            piece = slice(max(start - first, 0), min(stop - first, part.size))
            if piece.start < piece.stop:
                parts.append(part[piece])
            first += part.size
        return replace(self, parts=tuple(parts), fresh=False)

    def spans(self) -> list[tuple[Neurons, slice]]:
        """Each part with its place among the signal's neurons."""
        spans, first = [], 0
        for part in self.parts:
            spans.append((part, slice(first, first + part.size)))
            first += part.size
        return spans

    def stale(self) -> Signal:
        """The same neurons, no longer a layer's own output."""
        return replace(self, fresh=False)


@dataclass(frozen=True)
class Input:
    """A network input: its neurons are declared when a layer says how many it reads."""

    name: str


@dataclass(frozen=True)
class Attribute:
    """A parameter that the forward uses directly, not through a layer."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Unknown:
    """A result that is not understood, and why."""

    reason: str


Value = Any  # Signal | Input | Attribute | Unknown | a tuple or list of them | a constant of the forward
