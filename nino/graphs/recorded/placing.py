"""Where parameters lie: the neurons that each window on a parameter joins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from nino.graphs.core import EdgeType
from nino.graphs.recorded.along import Along
from nino.graphs.recorded.neurons import Labels, Universe
from nino.graphs.recorded.values import Axis, Dim, Field, Value
from nino.graphs.weights import Weights


@dataclass(frozen=True, slots=True)
class End:
    """Neurons at one end of a parameter's edges.

    Args:
        dims: dimensions of the window along which they differ.
        labels: the neurons, of these dimensions' sizes.
    """

    dims: tuple[int, ...]
    labels: Labels


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a window on a parameter lies.

    Args:
        name: the parameter.
        window: meta tensor whose offset and strides are those on the flat vector.
        ends: targets first, then sources; loose ones are no ends but positions of a kernel.
        edge_type: type of its edges.
    """

    name: str
    window: Tensor
    ends: tuple[End, ...]
    edge_type: EdgeType


class Placing(Along):
    """The parameters of a forward pass that is read, each between its neurons.

    Args:
        weights: the model's parameters, and buffers that the forward writes, on one flat vector.
    """

    def __init__(self, weights: Weights) -> None:
        """See the class."""
        super().__init__()
        self.weights = weights
        self.placements: dict[tuple[int, ...], Placement] = {}
        self.regrouped: dict[tuple[int, ...], Placement] = {}
        self.stopped: dict[str, str] = {}
        self.readers: dict[str, str] = {}
        self._arrays: dict[tuple[bytes, ...], Labels] = {}

    def settle(self, weight: Value, edge_type: EdgeType = EdgeType.LINEAR) -> Value:
        """A parameter with neurons along its dimensions: those that it lies between, or loose ones."""
        if weight.window is None:
            return weight
        window, axes = significant(weight)
        key = _key(window)
        if key not in self.placements:
            name = self.weights.window(window)[1]
            ends = [End((d,), self.neurons.new(name, (size,))) for d, size in enumerate(window.shape)]
            if not ends:
                ends = [End((), self.neurons.new(f"{name}.value", ()))]
            self.placements[key] = Placement(name, window, tuple(ends), edge_type)
        return self._with_fields(weight, axes, key)

    def placed(self, weight: Value) -> bool:
        """Whether a parameter's window has been placed."""
        return weight.window is None or _key(significant(weight)[0]) in self.placements

    def place(self, weight: Value, ends: Sequence[tuple[Dim, Labels]], edge_type: EdgeType) -> Value:
        """Put a parameter that nothing has met between neurons, given along its axes, targets first."""
        window, mine = significant(weight)
        index = {axis: i for i, axis in enumerate(mine)}
        name = self.weights.window(window)[1]
        by_dim = tuple(End(tuple(index[a] for a in axes), labels) for axes, labels in ends)
        self.placements[_key(window)] = Placement(name, window, by_dim, edge_type)
        return self._with_fields(weight, mine, _key(window))

    def _with_fields(self, weight: Value, axes: Dim, key: tuple[int, ...]) -> Value:
        ends = self.placements[key].ends
        fields = tuple(Field(tuple(axes[d] for d in end.dims), end.labels) for end in ends)
        return weight.but(fields=fields)

    def jointly(self, weight: Value, axes: Dim) -> Value:
        """A weight whose loose neurons along several axes are one array, since a contraction reads or makes them so."""
        n = self.neurons
        fields = [f for f in weight.fields if set(f.axes) & set(axes)]
        if len(fields) < 2 or any(not set(f.axes) <= set(axes) or n.met(f.labels).any() for f in fields):
            return weight
        fields.sort(key=lambda f: int(n.find(f.labels).flat[0]))
        keys = tuple(_row(n, f.labels) for f in fields)
        if keys not in self._arrays and not self._join_ends(keys, [f.labels.size for f in fields]):
            return weight
        inside = tuple(axis for f in fields for axis in f.axes)
        joint = Field(inside, self._arrays[keys].reshape([axis.size for axis in inside]))
        return replace(weight, fields=(*(f for f in weight.fields if f not in fields), joint))

    def _join_ends(self, keys: tuple[bytes, ...], sizes: list[int]) -> bool:
        """Give the placements between loose neurons one array in their stead."""
        n = self.neurons
        parts: dict[int, Labels] = {}
        for key, place in self.placements.items():
            ends = {_row(n, end.labels): end for end in place.ends}
            mine = [ends[k] for k in keys if k in ends]
            if len(mine) == len(keys):
                joint = self._arrays.setdefault(keys, n.new(place.name, tuple(sizes)))
                shape = [size for end in mine for size in end.labels.shape]
                end = End(tuple(d for end in mine for d in end.dims), joint.reshape(shape))
                others = (other for other in place.ends if all(other is not one for one in mine))
                self.placements[key] = replace(place, ends=(end, *others))
            else:
                parts |= {i: ends[k].labels for i, k in enumerate(keys) if k in ends}
        if keys in self._arrays:
            for i, labels in parts.items():  # a scale of each head, or what else lies along some of the axes
                n.merge(labels.reshape(-1), n.derived(self._arrays[keys], (i,), "heads"))
        return keys in self._arrays

    def stop(self, names: frozenset[str], reason: str) -> None:
        """Say which operation keeps parameters off the graph."""
        for name in names:
            self.stopped.setdefault(name, reason)

    def adopt(self, weight: Value, data: Value, edge_type: EdgeType) -> Value:
        """Put a parameter on the neurons of a tensor that it is joined to element by element."""
        if weight.window is None or self.placed(weight):
            weight = self.settle(weight, edge_type)
            self._typed(weight, edge_type)
            positions = {x for x in weight.axes if weight.labelled(x) and x in data.axes and not data.labelled(x)}
            self.tell_apart(weight, {x for x in positions if not x.uniform}, "a parameter along positions")
            return replace(weight, fields=tuple(f for f in weight.fields if not set(f.axes) & positions))
        mine = significant(weight)[1]
        left = list(mine)
        ends: list[tuple[Dim, Labels]] = []
        for f in sorted(data.fields, key=lambda f: -len(f.axes)):
            on = tuple(x for x in f.axes if x in left)
            if not on:
                continue
            labels = self.neurons.derived(f.labels, tuple(f.axes.index(x) for x in on), "positions")
            if len(on) < len(f.axes):
                self.neurons.shared.update(self.neurons.find(labels).reshape(-1).tolist())
            ends.append((on, labels))
            left = [x for x in left if x not in on]
        fields = [Field(on, labels) for on, labels in ends]
        name = self.weights.window(weight.window)[1]
        alone = tuple(x for x in left if x not in data.axes)
        if alone:
            ends.append((alone, self.neurons.new(name, tuple(x.size for x in alone), met=True)))
            fields.append(Field(*ends[-1]))
        places = tuple(x for x in left if x in data.axes)
        if places:
            nodes = self.neurons.new(f"{name}.positions", tuple(x.size for x in places), met=True, fixed=True)
            edge_type = EdgeType.POSITION_EMBEDDING if ends else edge_type
            ends.append((places, nodes))
        if not ends:
            ends.append(((), self.neurons.new(f"{name}.value", (), met=True)))
            fields.append(Field(*ends[0]))
        return replace(self.place(weight, ends, edge_type), fields=tuple(fields))

    def _typed(self, weight: Value, edge_type: EdgeType) -> None:
        """Parameters that were computed with before they meet neurons one by one: scales or biases, not linear maps."""
        for key, place in self.placements.items():
            if place.name in weight.made_of and place.edge_type is EdgeType.LINEAR and len(place.ends) == 1:
                self.placements[key] = replace(place, edge_type=edge_type)


def significant(weight: Value) -> tuple[Tensor, Dim]:
    """A window with one dimension an axis, those of the largest stride first, without broadcast ones; and the axes."""
    window = weight.window
    assert window is not None
    axes: list[Axis] = []
    for dim in weight.dims:
        at = len(axes)
        if not dim or window.stride(at) == 0:
            window = window.select(at, 0)
            continue
        if len(dim) > 1:
            window = window.unflatten(at, [x.size for x in dim])
        axes += dim
    strides = window.stride()
    order = sorted(range(window.ndim), key=lambda d: (-strides[d], d))
    return window.permute(order), tuple(axes[d] for d in order)


def _row(neurons: Universe, labels: Labels) -> bytes:
    """What tells neurons from others by now, in their order."""
    return neurons.find(labels).reshape(-1).tobytes()


def _key(window: Tensor) -> tuple[int, ...]:
    """What tells a window from others."""
    return (int(window.storage_offset()), *window.shape, *window.stride())
