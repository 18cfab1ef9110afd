"""Joining signals: what layers and operations do to a graph."""

from __future__ import annotations

from torch import Tensor, nn

from nino.graphs.builder import GraphBuilder
from nino.graphs.core import EdgeType
from nino.graphs.feedforward.signals import Attribute, Input, Signal, Unknown, Value
from nino.graphs.neurons import Neurons


class Untraceable(Exception):  # noqa: N818 (says what the forward is)
    """The forward cannot be followed in a trace: it branches on values, or computes its weights."""


class Wiring:
    """The builder, and what layers need to know of each other.

    Args:
        b: the builder.
        model: the model that is declared.
    """

    def __init__(self, b: GraphBuilder, model: nn.Module) -> None:
        """See the class."""
        self.b = b
        self._names = {id(p): name for name, p in model.named_parameters()}
        self._seen: dict[str, tuple[Signal | Unknown, Signal]] = {}
        self._inputs: dict[tuple[str, int], Neurons] = {}
        self._features: dict[tuple[tuple[Neurons, ...], int], Neurons] = {}

    def name(self, parameter: Tensor) -> str:
        """The (first) name of a parameter."""
        if id(parameter) not in self._names:
            raise Untraceable("a layer's weight is computed from others")
        return self._names[id(parameter)]

    def window(self, parameter: Tensor) -> Tensor:
        """A parameter as a meta tensor (see ``GraphBuilder.weight``)."""
        return self.b.weight(self.name(parameter))

    def leave(self, parameter: Tensor | None, reason: str) -> None:
        """Place a parameter on no edge, and say why."""
        if parameter is not None:
            self.b.leave(self.name(parameter), reason)

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, value: Value, size: int, layer: str) -> Signal | Unknown:
        """The ``size`` neurons that a layer reads.

        Args:
            value: what arrives.
            size: what the layer expects.
            layer: what to call it.

        Returns:
            Their signal, with an input's nodes or the features of flattened channels declared where needed.
        """
        if isinstance(value, Input):
            return Signal((self._input(value, size),))
        if not isinstance(value, Signal):
            return value if isinstance(value, Unknown) else Unknown(f"{layer!r} reads what no layer computed")
        if value.size == size:
            return value
        if value.flat and not value.moved and size % value.size == 0:
            return Signal((self._flattened(value, size // value.size),))
        return Unknown(f"{layer!r} reads {size} features, but {value.size} channels arrive")

    def _input(self, value: Input, size: int) -> Neurons:
        key = (value.name, size)
        if key not in self._inputs:
            self._inputs[key] = self.b.group(self.b.unused(value.name), size, fixed=True)
        return self._inputs[key]

    def _flattened(self, channels: Signal, positions: int) -> Neurons:
        """A neuron for each channel and position, fed by its channel; in ``exact`` positions keep their order."""
        key = (channels.parts, positions)
        if key not in self._features:
            name = self.b.unused(f"{channels.parts[0].group}.flat")
            features = self.b.group(name, channels.size * positions)
            place = self.b.group(f"{name}.positions", positions, fixed=True) if self.b.exact else None
            blocks = iter(features.split(channels.size))
            for part in channels.parts:
                for channel in part.split(part.size):
                    block = next(blocks)
                    self.b.link(channel, block, EdgeType.RESIDUAL)
                    if place is not None:
                        self.b.residual(place, block, EdgeType.HEAD)
            self._features[key] = features
        return self._features[key]

    # -- weights -----------------------------------------------------------------------------------------------------

    def dense(self, source: Signal, target: Neurons, weight: Tensor, edge_type: EdgeType | None = None) -> None:
        """Join a signal to a group by a weight ``(targets, sources, *kernel)``."""
        for part, span in source.spans():
            self.b.dense(part, target, weight[:, span], edge_type)

    def star(self, target: Signal, parameter: str, edge_type: EdgeType) -> None:
        """Join one node to a signal by a vector, or a single number to all of it."""
        weight = self.b.weight(parameter)
        if weight.numel() == 1 and target.size > 1:
            number = self.b.group(self.b.unused(parameter), 1)
            value = self.b.group(self.b.unused(f"{parameter}.value"), 1)
            self.b.dense(number, value, weight.reshape(1, 1), edge_type)
            for part in target.parts:
                self.b.link(value, part)
            return
        node = self.b.group(self.b.unused(parameter), 1, before=target.parts[0])
        rows = weight.view(target.size, 1, -1)
        for part, span in target.spans():
            self.b.dense(node, part, rows[span], edge_type)

    def shared(self, weight: Tensor, source: Signal | Unknown) -> Signal | None:
        """The output of a weight that has been placed, the same neurons again; None for another weight.

        What the weight reads now is carried over to what it read the first time.
        """
        seen = self._seen.get(self.name(weight))
        if seen is None:
            return None
        first, target = seen
        if isinstance(source, Signal) and isinstance(first, Signal):
            self._carry(source, first)
        return target.stale()

    def remember(self, weight: Tensor, source: Signal | Unknown, target: Signal) -> None:
        """Note what a weight reads and gives, for when it is used again."""
        self._seen[self.name(weight)] = (source, target)

    # -- signals -----------------------------------------------------------------------------------------------------

    def _carry(self, source: Signal, target: Signal) -> None:
        """Residual edges from a signal to another of the same size, part by part."""
        for part, span in target.spans():
            first = 0
            for piece in source.cut(span.start, span.stop).parts:
                if piece != part[first : first + piece.size]:
                    self.b.residual(piece, part[first : first + piece.size])
                first += piece.size

    def single(self, signal: Signal, name: str) -> Neurons:
        """The signal as one range of neurons."""
        if len(signal.parts) == 1:
            return signal.parts[0]
        group = self.b.group(self.b.unused(name), signal.size)
        self._carry(signal, Signal((group,)))
        return group

    def combine(self, a: Value, b: Value, name: str, *, gate: bool = False) -> Value:
        """A sum (or, with ``gate``, a product) of two values, neuron by neuron.

        A sum stands on the neurons of an operand that nothing else reads, as a residual block's output stands on its
        last layer's; else, as a product does, on neurons of its own.
        """
        for value, other in ((a, b), (b, a)):
            if isinstance(value, Attribute):
                return self.attribute(other, value, EdgeType.NORM if gate else EdgeType.BIAS)
        if isinstance(a, Unknown) or isinstance(b, Unknown):
            return a if isinstance(a, Unknown) else b
        if not isinstance(a, Signal | Input) or not isinstance(b, Signal | Input):
            value = a if isinstance(a, Signal | Input) else b  # with a number
            return value.stale() if isinstance(value, Signal) else value
        a = self.read(a, b.size, name) if isinstance(a, Input) and isinstance(b, Signal) else a
        b = self.read(b, a.size, name) if isinstance(b, Input) and isinstance(a, Signal) else b
        if not isinstance(a, Signal) or not isinstance(b, Signal):
            return Unknown(f"{name!r} combines two inputs")
        if a.parts == b.parts:
            return a.stale()
        if a.size < b.size:
            a, b = b, a
        if b.size not in (1, a.size):
            return Unknown(f"{name!r} combines {a.size} channels with {b.size}")
        return self._joined(a, b, name, gate)

    def _joined(self, a: Signal, b: Signal, name: str, gate: bool) -> Signal:
        flags = {"flat": a.flat or b.flat, "moved": a.moved or b.moved}
        for target, source in ((b, a), (a, b)):
            if target.fresh and len(target.parts) == 1 and not gate and target.size == a.size == source.size:
                self._carry(source, target)
                return Signal(target.parts, fresh=True, **flags)
        total = self.b.group(self.b.unused(name), a.size)
        self._carry(a, Signal((total,)))
        if b.size == a.size:
            self._carry(b, Signal((total,)))
        else:
            self.b.link(b.parts[0], total, EdgeType.RESIDUAL)
        return Signal((total,), fresh=not gate, **flags)

    def attribute(self, value: Value, attribute: Attribute, edge_type: EdgeType) -> Value:
        """Add a parameter that the forward uses directly to a value, or scale the value by it.

        It is a vector, a number, or a table of positions.
        """
        if not isinstance(value, Signal):
            reason = value.reason if isinstance(value, Unknown) else "it meets no layer's output"
            self.b.leave(attribute.name, reason)
            return value
        if not self.b.placed(attribute.name):
            shape = [size for size in attribute.shape if size != 1]
            if shape in ([], [value.size]):
                self.star(value, attribute.name, edge_type)
            elif len(shape) == 2 and shape[1] == value.size and len(value.parts) == 1 and edge_type == EdgeType.BIAS:
                rows = self.b.group(self.b.unused(attribute.name), shape[0], fixed=True, before=value.parts[0])
                table = self.b.weight(attribute.name).view(shape)
                self.b.embedding(rows, value.parts[0], table, EdgeType.POSITION_EMBEDDING)
            else:
                self.b.leave(attribute.name, f"its shape {attribute.shape} does not fit {value.size} channels")
        return value.stale()
