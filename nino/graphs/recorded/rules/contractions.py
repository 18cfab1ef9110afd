"""Sums of products: what makes neurons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nino.graphs.core import EdgeType
from nino.graphs.recorded.neurons import Labels
from nino.graphs.recorded.reading import Reading
from nino.graphs.recorded.rules.base import Call, rule
from nino.graphs.recorded.values import Axis, Dim, Value, axes_for


@rule("mm", "bmm", "matmul", "mv", "dot", "vdot", "inner", "_scaled_mm", "_int_mm")
def matmul(r: Reading, call: Call) -> Value:
    """A product of matrices, or of as many as a batch has."""
    a, b = call.values[:2]
    return product(r, a, b)


@rule("addmm", "baddbmm", "addmv", "addbmm", "_addmm_activation")
def addmm(r: Reading, call: Call) -> Value:
    """A product of matrices, and a bias."""
    bias, a, b = call.values[:3]
    out = product(r, a, b)
    if call.name == "addbmm":
        out = out.but(dims=out.dims[1:], fields=r.reduce(out, set(out.dims[0])))
    if bias.kind == "constant" and not bias.axes:
        return out
    return r.combine(out, bias, "sum", EdgeType.BIAS)


@rule("linear")
def linear(r: Reading, call: Call) -> Value:
    """X W^T + b."""
    x, weight = call.values[:2]
    out = product(r, x, _transposed(weight), batch=0)
    bias = call.get("bias")
    return out if bias is None else r.combine(out, bias, "sum", EdgeType.BIAS)


def _transposed(v: Value) -> Value:
    window = None if v.window is None else v.window.transpose(-1, -2)
    return v.but(dims=(*v.dims[:-2], v.dims[-1], v.dims[-2]), window=window)


def product(r: Reading, a: Value, b: Value, batch: int | None = None) -> Value:
    """``(batch..., n..., k) (batch..., k, m)``: data with data, or with a parameter.

    Args:
        r: the reading.
        a: the first factor; its last dimension is summed over.
        b: the second, (batch..., k, m) or (k,).
        batch: leading dimensions that both have; None for all but a matrix's own.
    """
    vector = len(b.dims) == 1
    if vector:
        b = replace(b, dims=(*b.dims, ()), window=None if b.window is None else b.window.unsqueeze(-1))
    row = len(a.dims) == 1
    if row:
        a = replace(a, dims=((), *a.dims), window=None if a.window is None else a.window.unsqueeze(0))
    nb = len(b.dims) - 2 if batch is None else batch
    if b.kind == "weight":
        out = project(r, a, b, nb)
    elif a.kind == "weight":  # (batch, n, k) W times (batch, k, m): the sum over k with roles exchanged
        swapped = project(r, _transposed(b), _transposed(a), nb)
        out = replace(swapped, dims=(*swapped.dims[:-2], swapped.dims[-1], swapped.dims[-2]))
    else:
        out = pair(r, a, b, nb)
    dims = out.dims
    if vector:
        dims = dims[:-1]
    if row:
        dims = (*dims[: len(dims) - (1 if vector else 2)], *dims[len(dims) - (1 if vector else 2) + 1 :])
    return replace(out, dims=dims)


def pair(r: Reading, a: Value, b: Value, nb: int) -> Value:
    """Data with data: what is summed over is joined one by one; queries, keys and values show here."""
    for one, other, d in ((a, b, -2), (b, a, -1)):
        attention = one.extra.get("attention")
        if attention is not None and attention[2] in one.dims[-1 if one is a else -2]:
            _roles(r, attention, other, other.dims[d])
    first = replace(a, dims=(*a.dims[:-1], a.dims[-1], ()), extra={}, pair=None)
    second = replace(b, dims=(*b.dims[:nb], *((),) * (len(a.dims) - nb - 1), *b.dims[nb:]), extra={}, pair=None)
    first, second = r.align(first, second)
    summed = first.dims[-2] or second.dims[-2]
    ends = [next((f for f in v.fields if set(f.axes) & set(summed)), None) for v in (first, second)]
    both = r.merge(first, second, "pair", EdgeType.LINEAR)
    gone = set(both.dims[-2])
    single = ends[0] is not None and ends[1] is not None
    fields = r.reduce(both, gone, "heads", single=single)
    n, m = both.dims[-3] if len(both.dims) > 2 else (), both.dims[-1]
    out = Value((*both.dims[:-2], m), fields)
    if ends[0] is not None and ends[1] is not None and len(n) == len(m) == 1:
        out = replace(out, pair=(ends[0].labels, ends[1].labels, n[0], m[0]))
    return out


def _roles(r: Reading, attention: tuple[Labels, Labels, Axis], values: Value, summed: Dim) -> None:
    queries, keys, _ = attention
    r.neurons.roles[EdgeType.QUERY].append(queries.reshape(-1))
    r.neurons.roles[EdgeType.KEY].append(keys.reshape(-1))
    for f in values.fields:
        if not set(f.axes) & set(summed):
            r.neurons.roles[EdgeType.VALUE].append(f.labels.reshape(-1))


def project(r: Reading, x: Value, w: Value, nb: int) -> Value:
    """Data (batch..., n..., k) with a parameter (batch..., k, m): a block from the neurons along k to new ones."""
    virgin = w.window is not None and not r.placed(w)
    if not virgin:
        w = r.settle(w)
    x = r.settle(x)
    middle = len(x.dims) - nb - 1
    window = w.window
    if window is not None:
        for _ in range(middle):
            window = window.unsqueeze(nb)
    w = replace(w, dims=(*w.dims[:nb], *((),) * middle, *w.dims[nb:]), window=window)
    x = replace(x, dims=(*x.dims, ()), extra={}, pair=None)
    window = w.window
    x, w = r.align(x, w, skip=len(x.dims) - 2)
    k = len(x.dims) - 2
    if all(r._uniform(x, axis) for axis in x.dims[k]) and x.kind == "constant":
        sources = None
    else:
        if sum(1 for f in x.fields if set(f.axes) & set(x.dims[k])) != 1:
            x = r.flatten(x, x.dims[k], "features")
        sources = r.row(x, k)
        r.neurons.read(sources)
    batch = tuple(axis for dim in w.dims[:nb] for axis in dim if not axis.uniform)
    if virgin:
        w = _place(r, x, w, k, batch, sources)
    else:
        shared = batch if not any(set(f.axes) & set(batch) for f in x.fields) else ()
        w = r.jointly(r.jointly(w, (*shared, *w.dims[-1])), w.dims[k])
        if sources is not None:
            _meet(r, x, w, k, sources)
    targets = tuple(f for f in w.fields if not set(f.axes) & set(w.dims[k]))
    if not w.dims[k]:
        targets = tuple(f for f in targets if f.axes or not w.dims[-1])
    for f in targets:
        r.neurons.meet(f.labels)
    gone = set(x.dims[k])
    left = tuple(f for f in r.reduce(x, gone, "slices") if f.axes or x.dims[k])
    kind = "weight" if x.kind == "weight" else "data"
    dims = (*(p or q for p, q in zip(x.dims[:k], w.dims[:k], strict=True)), w.dims[-1])
    return Value(dims, r.untangle((*left, *targets)), kind, fresh=2, made_of=x.made_of | w.made_of)  # type: ignore[arg-type]


def _place(r: Reading, x: Value, w: Value, k: int, batch: Dim, sources: Labels | None) -> Value:
    """Put a parameter that nothing has met between the neurons that it reads and new ones."""
    assert w.window is not None
    name = r.weights.window(w.window)[1]
    out = (*batch, *w.dims[-1])
    targets = r.neurons.new(name, tuple(axis.size for axis in out), met=True)
    if sources is None:
        loose = r.neurons.new(f"{name}.in", tuple(axis.size for axis in w.dims[k]))
        return r.place(w, [(out, targets), (w.dims[k], loose)], EdgeType.LINEAR)
    joint = next((f for f in x.fields if set(f.axes) & set(x.dims[k])), None)
    if joint is not None and batch and set(joint.axes) <= {*batch, *x.dims[k]} and len(joint.axes) > len(x.dims[k]):
        shared = tuple(axis for axis in batch if axis in joint.axes)
        rows = joint.along((*shared, *x.dims[k]))
        sources = np.ascontiguousarray(rows).reshape(*rows.shape[: len(shared)], -1)
        source = ((*shared, *w.dims[k]), sources.reshape([a.size for a in (*shared, *w.dims[k])]))
        return r.place(w, [(out, targets), source], EdgeType.LINEAR)
    row = sources.reshape([axis.size for axis in w.dims[k]])
    return r.place(w, [(out, targets), (w.dims[k], row)], EdgeType.LINEAR)


def _meet(r: Reading, x: Value, w: Value, k: int, sources: Labels) -> None:
    """A parameter that is placed already reads neurons again: they are, or are tied to, those that it reads."""
    read = next((f for f in w.fields if set(f.axes) & set(w.dims[k]) or not (f.axes or w.dims[k])), None)
    if read is None:
        return
    mine = tuple(axis for axis in w.dims[k] if axis in read.axes)
    outer = tuple(axis for axis in read.axes if axis not in mine)
    labels = read.along((*outer, *mine))
    labels = labels.reshape(*labels.shape[: len(outer)], -1) if mine else labels.reshape(*labels.shape, 1)
    joint = next((f for f in x.fields if set(f.axes) & set(x.dims[k])), None)
    rows: Labels = sources
    if joint is not None and outer and set(outer) <= set(joint.axes):
        rows = joint.along((*outer, *x.dims[k])).reshape(labels.shape)
    join_rows(r, np.broadcast_to(rows, labels.shape), labels)


def join_rows(r: Reading, rows: Labels, labels: Labels) -> None:
    """Make loose neurons those of an activation; tie those that are met already."""
    if not r.neurons.met(labels).any():
        r.neurons.merge(labels, rows)
        r.neurons.meet(rows)
    elif not r.neurons.met(rows).any():
        r.neurons.merge(np.ascontiguousarray(rows), labels)
    else:
        r.neurons.tie(labels, np.ascontiguousarray(rows))


@rule("_grouped_mm", "grouped_mm_fallback", "grouped_mm")
def grouped(r: Reading, call: Call) -> Value:
    """Rows (S, k), each with one of the matrices (E, k, m) of experts: each expert has neurons of its own.

    Which expert a row has is data; the experts' axis stays in the field of its neurons though no dimension has it,
    and goes where the next such product reads them.
    """
    x, w = (r.settle(call.values[0]), call.values[1])
    if w.kind != "weight":
        r.tell_apart(x, x.axes, call.name)
        return Value(axes_for(call.shape))
    if sum(1 for f in x.fields if set(f.axes) & set(x.dims[1])) != 1:
        x = r.flatten(x, x.dims[1], "features")
    read = next((f for f in x.fields if set(f.axes) & set(x.dims[1])), None)
    hidden = tuple(a for a in read.axes if a not in x.axes) if read is not None else ()
    sources = r.row(x, 1) if not hidden or read is None else read.along((*hidden, *x.dims[1]))
    r.neurons.read(sources)
    left = r.reduce(x, {*x.dims[1], *hidden}, "slices")
    left = tuple(f for f in left if not set(f.axes) & set(hidden))
    if w.window is not None and not r.placed(w):
        w = _place_experts(r, w, sources, bool(hidden))
    w = r.settle(w)
    out = tuple(f for f in w.fields if not set(f.axes) & set(w.dims[1]))
    return Value((x.dims[0], w.dims[2]), (*left, *out), fresh=2)


def _place_experts(r: Reading, w: Value, sources: Labels, second: bool) -> Value:
    """Experts' matrices: to neurons of each expert, or from them to neurons that all experts have in common."""
    assert w.window is not None
    experts, k, m = w.dims
    axes = m if second else (*experts, *m)
    targets = r.neurons.new(r.weights.window(w.window)[1], tuple(a.size for a in axes), met=True)
    if not second:
        nodes = r.position_nodes(experts, "experts")
        r.neurons.link(nodes.reshape(nodes.shape + (1,) * len(m)), targets, EdgeType.HEAD)
    ends = (*experts, *k) if second else k
    return r.place(w, [(axes, targets), (ends, sources.reshape([a.size for a in ends]))], EdgeType.LINEAR)
