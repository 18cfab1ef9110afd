"""What operations do to neurons: the few primitives that every rule is written in."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from nino.graphs.core import EdgeType
from nino.graphs.recorded.neurons import Labels
from nino.graphs.recorded.placing import Placing
from nino.graphs.recorded.values import Axis, Dim, Field, Kind, Value, axes_for, common, refine, substitute

Mode = Literal["sum", "product", "pair", "cat"]


class Reading(Placing):
    """The state of reading a forward pass: neurons, where parameters lie, and how tensors meet element by element."""

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
            a = self.adopt(a, b, edge_type)
        elif b.kind == "weight":
            b = self.adopt(b, a, edge_type)
        kind = kind_of(a, b)
        shared = {x for d, (p, q) in enumerate(zip(a.dims, b.dims, strict=True)) if d != skip and q for x in p}
        for one, other in ((a, b), (b, a)):
            self._meet_positions(one, other, shared, mode)
        self._note_parts(a, b)
        self._note_parts(b, a)
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

    def _note_parts(self, one: Value, other: Value) -> None:
        """Note parts of an array that meet wider neurons, or single ones: no edge says which part does what."""
        for f in one.fields:
            wider = any(set(f.axes) < set(g.axes) or not f.axes for g in other.fields)
            if wider and self.parts.is_cut(f.labels):
                self.parts.spread(f.labels)

    def _uniform(self, value: Value, axis: Axis) -> bool:
        """Whether all slices of a tensor along an axis are equal."""
        if axis.uniform or axis in value.extra.get("uniform", ()):
            return True
        if value.elements is None or value.kind != "constant":
            return False
        dim = next(d for d, axes in enumerate(value.dims) if axis in axes)
        axes = value.dims[dim]
        sizes = [x.size for x in axes]
        elements = value.elements.reshape([*value.elements.shape[:dim], *sizes, *value.elements.shape[dim + 1 :]])
        at = dim + axes.index(axis)
        return bool((elements == elements.narrow(at, 0, 1)).all()) if elements.numel() else True

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
        """Drop each field whose axes are all among another one's, and tie its neurons to those of that one."""
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
    elements, window = (None if x is None else x[(None,) * more] for x in (value.elements, value.window))
    return replace(value, dims=((),) * more + value.dims, elements=elements, window=window)


def _alike(value: Value, axes: set[Axis]) -> Value:
    """A tensor whose slices along some axes are equal, which it shares with a tensor whose slices are not."""
    return replace(value, extra={**value.extra, "uniform": frozenset(axes)}) if axes else value


def fresh_axes(shape: torch.Size | tuple[int, ...]) -> tuple[Dim, ...]:
    """New axes for a shape."""
    return axes_for(tuple(int(s) for s in shape))


def _fresh(a: Value, b: Value, mode: Mode) -> int:
    """How fresh the result of joining two tensors is (see ``Value``)."""
    if a.kind == b.kind == "data" and a.fields and b.fields:
        return min(a.fresh, b.fresh) or 1 if mode == "sum" and (a.fresh or b.fresh) else 0
    data, other = (a, b) if a.kind == "data" and a.fields else (b, a)
    return min(data.fresh, 1) if mode == "product" and other.kind == "weight" else data.fresh
