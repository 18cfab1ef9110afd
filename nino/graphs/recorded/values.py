"""What is known of a tensor: the axes of its dimensions, and the neurons along them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import gcd, prod
from typing import Any, Literal

import numpy as np
from torch import Tensor

from nino.graphs.recorded.neurons import Labels

Kind = Literal["data", "weight", "constant"]


class Axis:
    """A factor of a dimension's size; axes are told apart by identity, never by size.

    Args:
        size: at least 2 (a dimension of size 1 has no axes).
        uniform: whether all slices along it are equal (a broadcast).
        place: the axis that it copies, whose positions are the same ones.
    """

    __slots__ = ("place", "size", "uniform")

    def __init__(self, size: int, uniform: bool = False, place: Axis | None = None) -> None:
        """See the class."""
        self.size, self.uniform = size, uniform
        self.place: Axis = place or self


Dim = tuple[Axis, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Neurons along some axes of a tensor.

    Args:
        axes: the axes, none for a single neuron.
        labels: numbers of the neurons, of the axes' sizes.
    """

    axes: Dim
    labels: Labels

    def along(self, axes: Dim) -> Labels:
        """The labels with their dimensions in this order (the same axes)."""
        return self.labels.transpose([self.axes.index(axis) for axis in axes])


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of the forward pass.

    An axis in no field is a position (batch, token, space). A neuron of an element is told by all fields together.

    Args:
        dims: the axes of each dimension, outer first.
        fields: neurons along them.
        kind: ``weight`` if it depends on parameters and constants only, ``constant`` if on constants only.
        elements: its values, where it depends on integers and constants only.
        window: where a parameter's elements lie on the flat vector, as long as nothing has met the parameter.
        made_of: names of the parameters in a ``weight`` (or in what an unknown operation made of them).
        fresh: 2 for what a contraction gives (its biases included), 1 after a norm or scale, 0 for anything else.
        pair: axes of query and key positions in a product of queries and keys.
        path: a number for the operations that it has gone through, the same for slices of a tensor treated alike.
        extra: what else rules want to remember.
    """

    dims: tuple[Dim, ...]
    fields: tuple[Field, ...] = ()
    kind: Kind = "data"
    elements: Tensor | None = None
    window: Tensor | None = None
    made_of: frozenset[str] = frozenset()
    fresh: int = 0
    pair: tuple[Labels, Labels, Axis, Axis] | None = None
    path: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return tuple(size_of(dim) for dim in self.dims)

    @property
    def axes(self) -> Dim:
        """All axes, outer first."""
        return tuple(axis for dim in self.dims for axis in dim)

    def labelled(self, axis: Axis) -> bool:
        """Whether there are neurons along an axis."""
        return any(axis in f.axes for f in self.fields)

    def but(self, **changes: Any) -> Value:
        """A copy with changes, without what only the tensor itself can claim."""
        base: dict[str, Any] = {"elements": None, "window": None, "pair": None, "extra": {}}
        return replace(self, **{**base, **changes})


def size_of(dim: Dim) -> int:
    """Size of a dimension."""
    return prod(axis.size for axis in dim)


def axes_for(shape: tuple[int, ...], uniform: bool = False) -> tuple[Dim, ...]:
    """New axes, one a dimension."""
    return tuple((Axis(size, uniform),) if size != 1 else () for size in shape)


def substitute(value: Value, new: dict[Axis, Dim]) -> Value:
    """Put axes (or, where one is split, several) in the place of others."""
    dims = tuple(tuple(part for axis in dim for part in new.get(axis, (axis,))) for dim in value.dims)
    fields = []
    for f in value.fields:
        axes = tuple(part for axis in f.axes for part in new.get(axis, (axis,)))
        fields.append(Field(axes, f.labels.reshape([axis.size for axis in axes])))
    pair = value.pair
    if pair is not None:
        parts = [new.get(axis, (axis,)) for axis in pair[2:]]
        pair = (pair[0], pair[1], parts[0][0], parts[1][0]) if all(len(p) == 1 for p in parts) else None
    return replace(value, dims=dims, fields=tuple(fields), pair=pair)


def renamed(value: Value, keep: frozenset[Axis] = frozenset()) -> Value:
    """A copy with axes of its own, so that a tensor can meet itself."""
    return substitute(value, {a: (Axis(a.size, a.uniform, a.place),) for a in value.axes if a not in keep})


def split_axis(axis: Axis, sizes: list[int]) -> Dim:
    """Axes that an axis is a product of."""
    return tuple(Axis(size, axis.uniform) for size in sizes if size != 1)


def common(one: list[int], other: list[int]) -> list[int] | None:
    """The coarsest factors that two factorisations of a number both are products of.

    >>> common([6], [2, 3]), common([2, 6], [4, 3]), common([2, 3], [3, 2])
    ([2, 3], [2, 2, 3], None)
    """
    one, other, out = list(one), list(other), []
    while one and other:
        a, b = one.pop(0), other.pop(0)
        step = gcd(a, b)
        if step != min(a, b):
            return None
        out.append(step)
        if a > step:
            one.insert(0, a // step)
        if b > step:
            other.insert(0, b // step)
    return out


def refine(dim: Dim, sizes: list[int]) -> dict[Axis, Dim]:
    """What to substitute so that a dimension's axes have these sizes."""
    new: dict[Axis, Dim] = {}
    rest = list(sizes)
    for axis in dim:
        parts: list[int] = []
        while prod(parts) < axis.size:
            parts.append(rest.pop(0))
        if len(parts) > 1:
            new[axis] = split_axis(axis, parts)
    return new


def flat_labels(f: Field, dim: Dim) -> Labels:
    """Labels of a field over exactly a dimension's axes, as one row."""
    return np.ascontiguousarray(f.along(dim)).reshape(-1)


def with_dim(dims: tuple[Dim, ...], d: int, dim: Dim) -> tuple[Dim, ...]:
    """Dimensions of a tensor with another one in place of the d-th."""
    return (*dims[:d], dim, *dims[d + 1 :])
