"""What operations do to neurons: the few primitives that every rule is written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from nino.graphs.core import EdgeType
from nino.graphs.recorded.neurons import Labels, Universe
from nino.graphs.recorded.parts import Parts
from nino.graphs.recorded.values import Axis, Dim, Field, Kind, Value, axes_for, common, flat_labels, refine, substitute
from nino.graphs.weights import Weights

Mode = Literal["sum", "product", "pair", "cat"]


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


class Reading:
    """The state of reading a forward pass: neurons, where parameters lie, and which positions have nodes.

    Args:
        weights: the model's parameters, and buffers that the forward writes, on one flat vector.
    """

    def __init__(self, weights: Weights) -> None:
        """See the class."""
        self.weights = weights
        self.neurons = Universe()
        self.parts = Parts(self.neurons)
        self.placements: dict[tuple[int, ...], Placement] = {}
        self.regrouped: dict[tuple[int, ...], Placement] = {}
        self.stopped: dict[str, str] = {}
        self.memory: dict[Any, Labels] = {}
        self._places: dict[tuple[Axis, ...], Labels] = {}
        self.inputs: dict[Axis, str] = {}

    # -- positions -----------------------------------------------------------------------------------------------------

    def position_nodes(self, axes: Dim, name: str = "positions") -> Labels:
        """A node for each position along some axes; their order is part of the function."""
        key = tuple(axis.place for axis in axes)
        if key not in self._places:
            known = next((self.inputs[axis] for axis in key if axis in self.inputs), name)
            nodes = self.neurons.new(known, tuple(axis.size for axis in axes), met=True, fixed=True)
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
        return value.but(dims=dims, fields=tuple(fields), known=value.known)

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
        """As ``reduce``, where no parameter reads what is summed over: what is left out of the sum is told apart."""
        for f in value.fields:
            if set(f.axes) <= axes and self.parts.is_cut(f.labels):
                self.neurons.derived(f.labels, (), "slices")
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

    # -- parameters ----------------------------------------------------------------------------------------------------

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

    def stop(self, names: frozenset[str], reason: str) -> None:
        """Say which operation keeps parameters off the graph."""
        for name in names:
            self.stopped.setdefault(name, reason)

    # -- two tensors ---------------------------------------------------------------------------------------------------

    def align(self, a: Value, b: Value, skip: int | None = None) -> tuple[Value, Value]:
        """Both with as many dimensions, and the same axes along all but a skipped one and those of size 1."""
        rank = max(len(a.dims), len(b.dims))
        a, b = extended(a, rank), extended(b, rank)
        b = substitute(b, {x: (Axis(x.size, x.uniform, x.place),) for x in b.axes})
        for d in range(rank):
            if d == skip or not a.dims[d] or not b.dims[d]:
                continue
            sizes = common([x.size for x in a.dims[d]], [x.size for x in b.dims[d]])
            if sizes is None:
                a, b = self.flatten(a, a.dims[d]), self.flatten(b, b.dims[d])
                continue
            a, b = substitute(a, refine(a.dims[d], sizes)), substitute(b, refine(b.dims[d], sizes))
        to_a: dict[Axis, Dim] = {}
        to_b: dict[Axis, Dim] = {}
        alike: tuple[set[Axis], set[Axis]] = (set(), set())
        for d in range(rank):
            if d == skip or not a.dims[d] or not b.dims[d]:
                continue
            for x, y in zip(a.dims[d], b.dims[d], strict=True):
                to, axis = (to_a, y) if x.uniform and not y.uniform else (to_b, x)
                to[x if axis is y else y] = (axis,)
                for side, old in zip(alike, (x, y), strict=True):
                    if old.uniform:
                        side.add(axis)
        return _alike(substitute(a, to_a), alike[0]), _alike(substitute(b, to_b), alike[1])

    def combine(self, a: Value, b: Value, mode: Mode, edge_type: EdgeType = EdgeType.BIAS) -> Value:
        """Two tensors joined element by element (broadcast).

        Args:
            a: the first.
            b: the second.
            mode: ``sum``, ``product``, ``pair`` (a product that is about to be summed over) or ``cat``.
            edge_type: type of the edges of a parameter that is joined to neurons one by one.
        """
        a, b = self.align(a, b)
        return self.merge(a, b, mode, edge_type)

    def merge(self, a: Value, b: Value, mode: Mode, edge_type: EdgeType, skip: int | None = None) -> Value:
        """Join two aligned tensors (see ``combine``)."""
        if a.kind == "weight" and b.kind == "weight":
            a, b = self.settle(a, edge_type), self.settle(b, edge_type)
        elif a.kind == "weight":
            a = self._adopt(a, b, edge_type)
        elif b.kind == "weight":
            b = self._adopt(b, a, edge_type)
        kind = kind_of(a, b)
        shared = {x for d, (p, q) in enumerate(zip(a.dims, b.dims, strict=True)) if d != skip and q for x in p}
        for one, other in ((a, b), (b, a)):
            self._meet_positions(one, other, shared, mode)
        fields = self._merged_fields(a, b, mode)
        dims = tuple(p or q for p, q in zip(a.dims, b.dims, strict=True))
        fresh = _fresh(a, b, mode)
        extra = {k: v for k, v in {**b.extra, **a.extra}.items() if k != "uniform"}
        made_of = a.made_of | b.made_of if kind == "weight" else frozenset()
        return Value(dims, fields, kind, fresh=fresh, made_of=made_of, pair=a.pair or b.pair, extra=extra)

    def _meet_positions(self, one: Value, other: Value, shared: set[Axis], mode: Mode) -> None:
        """Fix neurons of ``one`` along axes where ``other`` has positions or values that tell them apart."""
        axes = {x for x in one.axes if x in shared and one.labelled(x) and not other.labelled(x)}
        axes = {x for x in axes if not self._uniform(other, x)}
        if axes:
            what = {"constant": "a constant", "data": "positions", "weight": "a parameter"}[other.kind]
            self.tell_apart(one, axes, f"{what} in a {mode} tells them apart")

    def _uniform(self, value: Value, axis: Axis) -> bool:
        """Whether all slices of a tensor along an axis are equal."""
        if axis.uniform or axis in value.extra.get("uniform", ()):
            return True
        if value.known is None or value.kind != "constant":
            return False
        dim = next(d for d, axes in enumerate(value.dims) if axis in axes)
        axes = value.dims[dim]
        sizes = [x.size for x in axes]
        known = value.known.reshape([*value.known.shape[:dim], *sizes, *value.known.shape[dim + 1 :]])
        at = dim + axes.index(axis)
        return bool((known == known.narrow(at, 0, 1)).all()) if known.numel() else True

    def _adopt(self, weight: Value, data: Value, edge_type: EdgeType) -> Value:
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
        kept = [Field(on, labels) for on, labels in ends]
        name = self.weights.window(weight.window)[1]
        alone = tuple(x for x in left if x not in data.axes)
        if alone:
            ends.append((alone, self.neurons.new(name, tuple(x.size for x in alone), met=True)))
            kept.append(Field(*ends[-1]))
        places = tuple(x for x in left if x in data.axes)
        if places:
            nodes = self.neurons.new(f"{name}.positions", tuple(x.size for x in places), met=True, fixed=True)
            edge_type = EdgeType.POSITION_EMBEDDING if ends else edge_type
            ends.append((places, nodes))
        if not ends:
            ends.append(((), self.neurons.new(f"{name}.value", (), met=True)))
            kept.append(Field(*ends[0]))
        return replace(self.place(weight, ends, edge_type), fields=tuple(kept))

    def _typed(self, weight: Value, edge_type: EdgeType) -> None:
        """Parameters that were computed with before they meet neurons one by one: scales or biases, not linear maps."""
        for key, place in self.placements.items():
            if place.name in weight.made_of and place.edge_type is EdgeType.LINEAR and len(place.ends) == 1:
                self.placements[key] = replace(place, edge_type=edge_type)

    def _merged_fields(self, a: Value, b: Value, mode: Mode) -> tuple[Field, ...]:
        out = list(a.fields)
        for g in b.fields:
            same = next((f for f in out if set(f.axes) == set(g.axes) and f.axes), None)
            if same is None:
                out.append(g)
                continue
            labels = self._join(same, Field(same.axes, g.along(same.axes)), a, b, mode)
            out[out.index(same)] = Field(same.axes, labels)
        return self.untangle(tuple(out), mode)

    def untangle(self, fields: tuple[Field, ...], mode: Mode = "product") -> tuple[Field, ...]:
        """Tie fields that share axes; one whose axes another one has all of is told by that one."""
        left = sorted(fields, key=lambda f: len(f.axes))
        out: list[Field] = []
        for i, f in enumerate(left):
            wider = next((g for g in left[i + 1 :] if set(f.axes) <= set(g.axes) and g.axes != f.axes), None)
            if wider is not None:
                self._tie_subset(f, wider, mode)
                continue
            out.append(f)
        return tuple(out)

    def _tie_subset(self, f: Field, wider: Field, mode: Mode) -> None:
        """Join neurons along some axes to those that differ along more axes."""
        rest = tuple(x for x in wider.axes if x in f.axes)
        keep = tuple(wider.axes.index(x) for x in rest)
        mine = f.along(rest)
        all_loose = not self.neurons.met(mine).any()
        if all_loose:
            self.neurons.merge(mine, self.neurons.derived(wider.labels, keep, "positions"))
            return
        target = wider.along((*rest, *(x for x in wider.axes if x not in rest)))
        source = mine.reshape(mine.shape + (1,) * (target.ndim - mine.ndim))
        kind = EdgeType.HEAD if self.neurons.stand_for_slices(mine) else EdgeType.RESIDUAL
        if mode == "pair" and kind is EdgeType.RESIDUAL:  # from queries to the keys that they share
            self.neurons.link(target, np.broadcast_to(source, target.shape), kind)
        else:
            self.neurons.link(source, target, kind)

    def _join(self, f: Field, g: Field, a: Value, b: Value, mode: Mode) -> Labels:
        """Neurons of two tensors that meet one by one."""
        n, la, lb = self.neurons, f.labels, g.labels
        if np.array_equal(n.find(la), n.find(lb)):
            return la
        if not n.met(lb).any():
            n.merge(lb, la)
            return la
        if not n.met(la).any():
            n.merge(la, lb)
            return lb
        if mode == "pair":
            if b.fresh and not n.shares(lb):
                n.take(lb, la)
            else:
                n.link(la, lb)
            return la
        if self._rotated(la, lb):
            return la
        own_a, own_b = a.fresh and n.unread(la), b.fresh and n.unread(lb)
        if mode == "sum" and own_a and own_b and a.fresh == b.fresh == 2 and a.kind == b.kind == "data":
            n.merge(la, lb)
            return lb
        onto_b = bool(own_b) if mode == "sum" else mode == "product" and bool(own_a) and not own_b
        if onto_b:
            n.residual(la, lb)
            return lb
        n.residual(lb, la)
        return la

    def _rotated(self, one: Labels, other: Labels) -> bool:
        """Whether two arrays are the same neurons in another order, each of a fixed place in its row (rotary pairs)."""
        n = self.neurons
        if one.ndim == 0 or not np.array_equal(np.sort(n.find(one), axis=-1), np.sort(n.find(other), axis=-1)):
            return False
        if one.ndim == 1:
            return bool(n.fixed(one).all())
        keep = (one.ndim - 1,)
        return n.has(one, keep) and bool(n.fixed(n.derived(one, keep, "positions")).all())


def kind_of(*values: Value) -> Kind:
    """What a tensor made of others depends on."""
    kinds = {v.kind for v in values}
    return "data" if "data" in kinds else "weight" if "weight" in kinds else "constant"


def extended(value: Value, rank: int) -> Value:
    """A tensor with leading dimensions of size 1."""
    more = rank - len(value.dims)
    if not more:
        return value
    known, window = (None if x is None else x[(None,) * more] for x in (value.known, value.window))
    return replace(value, dims=((),) * more + value.dims, known=known, window=window)


def _alike(value: Value, axes: set[Axis]) -> Value:
    """A tensor whose slices along some axes are equal, which it shares with a tensor whose slices are not."""
    return replace(value, extra={**value.extra, "uniform": frozenset(axes)}) if axes else value


def spread(f: Field, axes: Dim) -> Labels:
    """Labels of a field broadcast over more axes, in their order."""
    order = tuple(x for x in axes if x in f.axes)
    labels = f.along(order)
    shape = tuple(x.size if x in f.axes else 1 for x in axes)
    return np.broadcast_to(labels.reshape(shape), tuple(x.size for x in axes))


def fresh_axes(shape: torch.Size | tuple[int, ...]) -> tuple[Dim, ...]:
    """New axes for a shape."""
    return axes_for(tuple(int(s) for s in shape))


def _replace_run(dim: Dim, run: Dim, axis: Axis) -> Dim:
    if not any(a in run for a in dim):
        return dim
    first = dim.index(run[0])
    return (*dim[:first], axis, *dim[first + len(run) :])


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


def _fresh(a: Value, b: Value, mode: Mode) -> int:
    """How fresh the result of joining two tensors is (see ``Value``)."""
    if a.kind == b.kind == "data" and a.fields and b.fields:
        return min(a.fresh, b.fresh) or 1 if mode == "sum" and (a.fresh or b.fresh) else 0
    data, other = (a, b) if a.kind == "data" and a.fields else (b, a)
    return min(data.fresh, 1) if mode == "product" and other.kind == "weight" else data.fresh


def _key(window: Tensor) -> tuple[int, ...]:
    """What tells a window from others."""
    return (int(window.storage_offset()), *window.shape, *window.stride())
