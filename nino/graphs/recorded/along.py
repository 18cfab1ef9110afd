"""Neurons along the axes of one tensor: positions, rows, and what is left of neurons that are summed over."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from nino.graphs.core import EdgeType
from nino.graphs.recorded.neurons import Labels, Universe
from nino.graphs.recorded.parts import Parts
from nino.graphs.recorded.values import Axis, Dim, Field, Value, flat_labels


class Along:
    """The neurons of a forward pass that is read, and the positions that have nodes."""

    def __init__(self) -> None:
        """See the class."""
        self.neurons = Universe()
        self.parts = Parts(self.neurons)
        self.memory: dict[Any, Labels] = {}
        self.inputs: dict[Axis, str] = {}
        self._places: dict[tuple[Axis, ...], Labels] = {}

    # -- positions -----------------------------------------------------------------------------------------------------

    def position_nodes(self, axes: Dim, name: str = "positions") -> Labels:
        """A node for each position along some axes; their order is part of the function."""
        key = tuple(axis.place for axis in axes)
        if key not in self._places:
            group = next((self.inputs[axis] for axis in key if axis in self.inputs), name)
            nodes = self.neurons.new(group, tuple(axis.size for axis in axes), met=True, fixed=True)
            self._places[key] = nodes
        return self._places[key]

    def tell_apart(self, value: Value, axes: set[Axis] | Dim, reason: str) -> None:
        """Fix the order of the neurons along some axes of a tensor."""
        for f in value.fields:
            inside = tuple(axis for axis in f.axes if axis in axes)
            if inside:
                keep = tuple(f.axes.index(axis) for axis in inside)
                self.neurons.fix(self.neurons.derived(f.labels, keep, "positions"), reason)

    # -- flattening ----------------------------------------------------------------------------------------------------

    def flatten(self, value: Value, run: Dim, name: str = "features") -> Value:
        """Make one axis of consecutive axes of a dimension, with neurons of its own where several facts meet."""
        if len(run) <= 1:
            return value
        axis = Axis(int(np.prod([a.size for a in run])), all(a.uniform for a in run))
        inside = [f for f in value.fields if any(a in run for a in f.axes)]
        outside = [f for f in value.fields if f not in inside]
        fields = list(outside)
        if inside:
            labels, rest = self._joint(inside, run, name)
            fields += [*rest, Field((axis,), labels.reshape(-1))]
        dims = tuple(_replace_run(dim, run, axis) for dim in value.dims)
        return value.but(dims=dims, fields=tuple(fields), elements=value.elements)

    def _joint(self, fields: list[Field], run: Dim, name: str) -> tuple[Labels, list[Field]]:
        """Neurons over a run of axes from fields that have some of them, and the fields that are left outside."""
        if len(fields) == 1 and set(fields[0].axes) == set(run):
            return fields[0].along(run), []
        shape = tuple(a.size for a in run)
        made = self.neurons.new(name, shape, met=True)
        rest: list[Field] = []
        covered: set[Axis] = set()
        for f in sorted(fields, key=lambda f: -len(f.axes)):
            inner = tuple(a for a in f.axes if a in run)
            labels = self.neurons.derived(f.labels, tuple(f.axes.index(a) for a in inner), "slices")
            outer = tuple(a for a in f.axes if a not in run)
            if outer:
                keep = tuple(f.axes.index(a) for a in outer)
                rest.append(Field(outer, self.neurons.derived(f.labels, keep, "slices")))
            kind = EdgeType.HEAD if self.neurons.stand_for_slices(labels) else EdgeType.RESIDUAL
            self.neurons.link(spread(Field(inner, labels), run), made, kind)
            covered |= set(inner)
        places = tuple(a for a in run if a not in covered and not a.uniform)
        if places:
            self.neurons.link(spread(Field(places, self.position_nodes(places)), run), made, EdgeType.HEAD)
        return made, rest

    def row(self, value: Value, dim: int, name: str = "positions") -> Labels:
        """The neurons that a dimension of a tensor runs along, as one row of labels.

        Positions get nodes of fixed order; slices of neurons, and neurons with their positions, get nodes of their own.
        """
        axes = value.dims[dim]
        touching = [f for f in value.fields if any(a in axes for a in f.axes)]
        if not axes:
            single = [f for f in value.fields if not f.axes]
            if len(single) == 1:
                return single[0].labels.reshape(1)
            return self.neurons.new(name, (1,), met=True, fixed=True)
        if not touching:
            return self.position_nodes(axes, name).reshape(-1)
        if len(touching) == 1 and set(axes) <= set(touching[0].axes):
            f = touching[0]
            if len(f.axes) == len(axes):
                return flat_labels(f, axes)
            keep = tuple(f.axes.index(a) for a in axes)
            order = sorted(keep)
            made = self.neurons.derived(f.labels, tuple(order), "slices")
            return made.transpose([order.index(k) for k in keep]).reshape(-1)
        flat = self.flatten(value, axes, "features")
        return self.row(flat, dim, name)

    # -- reductions ----------------------------------------------------------------------------------------------------

    def reduce(self, value: Value, axes: set[Axis], name: str = "heads", single: bool = False) -> tuple[Field, ...]:
        """The fields that are left when axes are summed over: slices of neurons get nodes that stand for them.

        Args:
            value: the tensor.
            axes: the axes.
            name: what to call new nodes.
            single: give a node also to an array of neurons that is summed over altogether.
        """
        self._tie_overlaps(value.fields, axes)
        out: list[Field] = []
        for f in value.fields:
            rest = tuple(a for a in f.axes if a not in axes)
            if len(rest) == len(f.axes):
                out.append(f)
                continue
            if not rest and not single:
                continue
            keep = tuple(f.axes.index(a) for a in rest)
            made = Field(rest, self.neurons.derived(f.labels, keep, name))
            same = next((g for g in out if set(g.axes) == set(rest)), None)
            if same is None:
                out.append(made)
            else:
                self.neurons.tie(made.along(same.axes), same.labels)
        return tuple(out)

    def summed(self, value: Value, axes: set[Axis]) -> tuple[Field, ...]:
        """As ``reduce``, for a sum that no parameter reads; one over a part of an array gets a node of fixed order."""
        for f in value.fields:
            if set(f.axes) <= axes and self.parts.is_cut(f.labels):  # no two parts' sums are exchanged
                self.neurons.fix(self.neurons.derived(f.labels, (), "slices"), "a sum over a part")
        return self.reduce(value, axes, "slices")

    def _tie_overlaps(self, fields: tuple[Field, ...], axes: set[Axis]) -> None:
        """Tie what two fields have in common before one of them loses axes."""
        for f, g in combinations(fields, 2):
            both = {x for x in f.axes if x in g.axes}
            if both and both != set(f.axes) and both != set(g.axes) and axes & {*f.axes, *g.axes}:
                on = tuple(x for x in f.axes if x in both)
                one = self.neurons.derived(f.labels, tuple(f.axes.index(x) for x in on), "heads")
                keep = tuple(i for i, x in enumerate(g.axes) if x in both)
                other = self.neurons.derived(g.labels, keep, "heads")
                order = [g.axes[i] for i in keep]
                self.neurons.tie(one, other.transpose([order.index(x) for x in on]))


def spread(f: Field, axes: Dim) -> Labels:
    """Labels of a field broadcast over more axes, in their order."""
    order = tuple(x for x in axes if x in f.axes)
    labels = f.along(order)
    shape = tuple(x.size if x in f.axes else 1 for x in axes)
    return np.broadcast_to(labels.reshape(shape), tuple(x.size for x in axes))


def _replace_run(dim: Dim, run: Dim, axis: Axis) -> Dim:
    if not any(a in run for a in dim):
        return dim
    first = dim.index(run[0])
    return (*dim[:first], axis, *dim[first + len(run) :])
