"""Tensors side by side."""

from __future__ import annotations

import numpy as np

from nino.graphs.core import EdgeType
from nino.graphs.recorded.along import spread
from nino.graphs.recorded.reading import Reading, kind_of
from nino.graphs.recorded.rules.base import Call, rule
from nino.graphs.recorded.values import Axis, Field, Value, size_of, with_dim


@rule("cat", "concat", "concatenate")
def cat(r: Reading, call: Call) -> Value:
    """Tensors side by side along a dimension."""
    parts = [v for v in call.args["tensors"] if v.shape != (0,)]
    return joined(r, parts, call.get("dim", 0) % len(parts[0].dims))


@rule("stack")
def stack(r: Reading, call: Call) -> Value:
    """Tensors along a new dimension."""
    parts = list(call.args["tensors"])
    d = call.get("dim", 0) % (len(parts[0].dims) + 1)
    return joined(r, [_unsqueezed(p, d) for p in parts], d, stacked=True)


def _unsqueezed(value: Value, d: int) -> Value:
    window = None if value.window is None else value.window.unsqueeze(d)
    return value.but(dims=(*value.dims[:d], (), *value.dims[d:]), window=window)


def joined(r: Reading, parts: list[Value], d: int, stacked: bool = False) -> Value:
    """Tensors side by side; what they have along other dimensions is one, or lies beside each other too."""
    if len(parts) == 1:
        return parts[0]
    sizes = [size_of(p.dims[d]) for p in parts]
    axis = Axis(sum(sizes))
    lead = next((p for p in parts if p.kind == "data" and p.fields), parts[0])
    parts = [r.settle(p) if r.placed(p) or lead.kind != "data" else p for p in parts]
    parts = [r.flatten(p, p.dims[d], "features") for p in parts]
    aligned = []
    for part in parts:
        lead, part = r.align(lead, part, skip=d)
        aligned.append(part)
    parts = [r.align(lead, p, skip=d)[1] for p in aligned]
    parts = [r.adopt(p, _without(r, lead, d), EdgeType.WORD_EMBEDDING) if p.window is not None else p for p in parts]
    along = {x for p in parts for f in p.fields for x in f.axes if x in p.dims[d]}
    shared = _spectators(r, parts, along, d, stacked)
    joint = any(_apart(r, f, shared) for p in parts for f in p.fields if f.axes or r.parts.is_cut(f.labels))
    fields = list(shared)
    if along or joint:
        fields.append(_beside(r, parts, sizes, axis, d, shared))
    others = tuple(next((p.dims[e] for p in parts if p.dims[e]), ()) for e in range(len(lead.dims)))
    dims = with_dim(others, d, (axis,))
    made_of = frozenset().union(*(p.made_of for p in parts))
    return Value(dims, r.untangle(tuple(fields)), kind_of(*parts), made_of=made_of)


def _without(r: Reading, value: Value, d: int) -> Value:
    return value.but(dims=with_dim(value.dims, d, ()), fields=r.reduce(value, set(value.dims[d])))


def _apart(r: Reading, f: Field, shared: list[Field]) -> bool:
    """Whether none of the fields that all parts have in common says what this one, or a single neuron, says."""
    return not any(set(f.axes) <= set(g.axes) for g in shared) or not f.axes and r.parts.is_cut(f.labels)


def _spectators(r: Reading, parts: list[Value], along: set[Axis], d: int, stacked: bool) -> list[Field]:
    """Fields that do not run along the dimension and are the same neurons in all parts, or are tied to be so.

    Where one part has heads times neurons in one field and another one both apart, the former ties the latter.
    """
    first = max((p for p in parts if p.fields), key=lambda p: max(len(f.axes) for f in p.fields), default=parts[0])
    out = []
    for f in first.fields:
        if any(x in along for x in f.axes) or not f.axes:
            continue
        others = [next((g for g in p.fields if set(g.axes) == set(f.axes)), None) for p in parts]
        labels = [g.along(f.axes) for g in others if g is not None]
        same = all(np.array_equal(r.neurons.find(x), r.neurons.find(f.labels)) for x in labels)
        if not same and stacked:
            continue
        for p, g in zip(parts, others, strict=True):
            if g is None:
                narrow = [h for h in p.fields if h.axes and set(h.axes) < set(f.axes)]
                r.untangle((*narrow, f), "sum")
                told = {x for h in narrow for x in h.axes}
                missing = {x for x in f.axes if x in p.axes and x not in told and not r._uniform(p, x)}
                r.tell_apart(first, missing, "positions in a concatenation tell them apart")
            elif not r.neurons.met(g.labels).any():
                r.neurons.merge(g.along(f.axes), f.labels)
            else:
                r.neurons.residual(g.along(f.axes), f.labels)
        out.append(f)
    return out


def _beside(r: Reading, parts: list[Value], sizes: list[int], axis: Axis, d: int, shared: list[Field]) -> Field:
    """Neurons along the joined axis (and those that run across it, where the parts have different ones)."""
    across: list[Axis] = []
    for p in parts:
        for f in p.fields:
            if f.axes and _apart(r, f, shared):
                across += [x for x in f.axes if x not in p.dims[d] and x not in across]
    rows = []
    for p, size in zip(parts, sizes, strict=True):
        mine = [f for f in p.fields if _apart(r, f, shared)]
        axes = (*across, *p.dims[d])
        shape = [x.size for x in across] + [size]
        if not mine:
            labels = r.neurons.new("padding", tuple(shape), met=True, fixed=True)
        elif len(mine) == 1:
            labels = spread(mine[0], axes).reshape(shape)
        else:
            labels, _ = r._joint(mine, axes, "features")
            labels = labels.reshape(shape)
        rows.append(np.broadcast_to(labels, shape))
    r.parts.rejoined(rows, [p.path for p in parts])
    return Field((*across, axis), np.concatenate(rows, axis=-1))
