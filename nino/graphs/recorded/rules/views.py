"""Operations that rearrange a tensor's elements."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from nino.graphs.recorded.neurons import Labels
from nino.graphs.recorded.reading import Reading, fresh_axes
from nino.graphs.recorded.rules.base import Call, rule
from nino.graphs.recorded.rules.concatenations import joined
from nino.graphs.recorded.values import Axis, Dim, Field, Value, common, refine, size_of, substitute, with_dim


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten", "_reshape_copy")
def view(r: Reading, call: Call) -> Value:
    """Dimensions split and joined: axes are refined where they must, and dealt out anew."""
    return reshaped(r, call.first, call.shape)


def reshaped(r: Reading, value: Value, shape: Sequence[int]) -> Value:
    """A tensor of another shape."""
    if value.window is not None:
        value = r.settle(value)
    value = value.but(dims=(value.axes,), elements=None, pair=value.pair, extra=value.extra)
    sizes = [s for s in shape if s != 1]
    if prod(sizes) == 0:
        return Value(fresh_axes(tuple(shape)), kind=value.kind)
    axes: list[Axis] = list(value.axes)
    while axes and sizes:  # one segment of axes and dimensions with the same product at a time
        run, outs = [axes.pop(0)], [sizes.pop(0)]
        while (a := prod(x.size for x in run)) != (b := prod(outs)):
            if a < b:
                run.append(axes.pop(0))
            else:
                outs.append(sizes.pop(0))
        factors = common([x.size for x in run], outs)
        if factors is None:
            before = set(value.axes)
            value = r.flatten(value, tuple(run))
            run, factors = [x for x in value.axes if x not in before], outs
        value = substitute(value, refine(tuple(run), factors))
    left = list(value.axes)
    dims: list[Dim] = []
    for size in shape:
        dim: list[Axis] = []
        while prod(x.size for x in dim) < size:
            dim.append(left.pop(0))
        dims.append(tuple(dim))
    return value.but(dims=tuple(dims), pair=value.pair, extra=value.extra)


@rule("permute", "transpose", "t", "numpy_T", "movedim", "adjoint")
def permute(r: Reading, call: Call) -> Value:
    """Dimensions in another order."""
    value = call.first
    rank = len(value.dims)
    order = list(range(rank))
    if call.name == "permute":
        order = [d % rank for d in call["dims"]]
    elif rank >= 2:
        i, j = (0, 1) if call.name == "t" else (call["dim0"] % rank, call["dim1"] % rank)
        order[i], order[j] = j, i
    return value.but(dims=tuple(value.dims[d] for d in order), pair=value.pair, extra=value.extra)


@rule("unsqueeze", "squeeze")
def unsqueeze(r: Reading, call: Call) -> Value:
    """Dimensions of size 1 put in or taken away."""
    value = call.first
    dims = list(value.dims)
    if call.name == "unsqueeze":
        dims.insert(call["dim"] % (len(dims) + 1), ())
    else:
        which = call.get("dim", list(range(len(dims))))
        which = [d % max(len(dims), 1) for d in ([which] if isinstance(which, int) else which)]
        dims = [dim for d, dim in enumerate(dims) if dim or d not in which]
    return value.but(dims=tuple(dims), pair=value.pair, extra=value.extra)


@rule("expand", "expand_as", "expand_copy")
def expand(r: Reading, call: Call) -> Value:
    """Dimensions of size 1 broadcast: all slices along the new axes are equal."""
    value = call.first
    new = len(call.shape) - len(value.dims)
    dims = ((),) * new + value.dims
    wide = tuple(
        dim if dim or size == 1 else (Axis(size, uniform=True),) for dim, size in zip(dims, call.shape, strict=True)
    )
    return value.but(dims=wide, pair=value.pair, extra=value.extra)


@rule("repeat")
def repeat(r: Reading, call: Call) -> Value:
    """Copies side by side."""
    value = r.settle(call.first)
    times = list(call["repeats"])
    dims = ((),) * (len(times) - len(value.dims)) + value.dims
    wide = tuple((Axis(n, uniform=True), *dim) if n > 1 else dim for n, dim in zip(times, dims, strict=True))
    return value.but(dims=wide)


@rule("slice", "narrow")
def slice_(r: Reading, call: Call) -> Value:
    """A range of a dimension."""
    value = call.first
    d = call["dim"] % len(value.dims)
    size = size_of(value.dims[d])
    chosen = range(size)[slice(call.get("start"), call.get("end"), call.get("step", 1))]
    return taken(r, value, d, np.array(chosen, dtype=np.int64))


@rule("select")
def select(r: Reading, call: Call) -> Value:
    """One index of a dimension."""
    value = call.first
    d = call["dim"] % len(value.dims)
    out = taken(r, value, d, np.array([call["index"] % size_of(value.dims[d])]))
    return out.but(dims=(*out.dims[:d], *out.dims[d + 1 :]))


@rule("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes", "tensor_split")
def split(r: Reading, call: Call) -> list[Value]:
    """A dimension cut into consecutive ranges."""
    value = call.first
    d = call.get("dim", 0) % len(value.dims)
    out, first = [], 0
    for tensor in call.outputs:
        assert tensor is not None
        size = tensor.shape[d]
        out.append(taken(r, value, d, np.arange(first, first + size)))
        first += size
    return out


@rule("unbind")
def unbind(r: Reading, call: Call) -> list[Value]:
    """All indices of a dimension, one by one."""
    value = call.first
    d = call.get("dim", 0) % len(value.dims)
    pieces = [taken(r, value, d, np.array([i])) for i in range(size_of(value.dims[d]))]
    return [p.but(dims=(*p.dims[:d], *p.dims[d + 1 :])) for p in pieces]


def taken(r: Reading, value: Value, d: int, index: Labels) -> Value:
    """Chosen indices of a dimension, in this order."""
    dim = value.dims[d]
    if len(index) == size_of(dim) and np.array_equal(index, np.arange(len(index))):
        return value.but(pair=value.pair, extra=value.extra)
    value = r.flatten(r.settle(value), dim, "features")
    if not value.dims[d]:
        return value.but(dims=with_dim(value.dims, d, () if len(index) == 1 else (Axis(len(index)),)))
    (axis,) = value.dims[d]
    new = () if len(index) == 1 else (Axis(len(index), axis.uniform),)
    fields = []
    for f in value.fields:
        if axis in f.axes:
            at = f.axes.index(axis)
            labels = np.asarray(np.take(f.labels, index if new else index[0], axis=at))
            r.parts.cut(labels)
            fields.append(Field((*f.axes[:at], *new, *f.axes[at + 1 :]), labels))
        else:
            fields.append(f)
    return value.but(dims=with_dim(value.dims, d, new), fields=tuple(fields))


@rule("flip", "roll")
def reorder(r: Reading, call: Call) -> Value:
    """A dimension's indices in another order."""
    value = call.first
    dims = call["dims"]
    if not dims:
        return reshaped(r, _rolled(r, reshaped(r, value, [prod(value.shape)]), 0, call), call.shape)
    for i, d in enumerate([dims] if isinstance(dims, int) else dims):
        value = _rolled(r, value, d % len(value.dims), call, i)
    return value


def _rolled(r: Reading, value: Value, d: int, call: Call, i: int = 0) -> Value:
    size = size_of(value.dims[d])
    order = np.arange(size)[::-1] if call.name == "flip" else np.roll(np.arange(size), call["shifts"][i])
    return taken(r, value, d, order.copy())


@rule("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d",
      "replication_pad3d", "reflection_pad3d")  # fmt: skip
def pad(r: Reading, call: Call) -> Value:
    """A border: new positions, or, along neurons, places of constants among them."""
    value = r.settle(call.first)
    amounts = list(call.get("pad", call.get("padding")))
    rank = len(value.dims)
    for i in range(len(amounts) // 2):
        before, after = amounts[2 * i], amounts[2 * i + 1]
        d = rank - 1 - i
        size = size_of(value.dims[d])
        value = r.flatten(value, value.dims[d]) if before or after else value
        if not any(value.labelled(x) for x in value.dims[d]):
            new = size + before + after
            if new != size:
                value = value.but(dims=with_dim(value.dims, d, (Axis(new),) if new != 1 else ()))
            continue
        if before < 0 or after < 0:
            value = taken(r, value, d, np.arange(max(-before, 0), size - max(-after, 0)))
        zeros = [_zeros(value, d, n) if n > 0 else None for n in (before, after)]
        value = joined(r, [p for p in (zeros[0], value, zeros[1]) if p is not None], d)
    return value


def _zeros(value: Value, d: int, size: int) -> Value:
    dims = tuple((Axis(size),) if e == d and size != 1 else () for e in range(len(value.dims)))
    return Value(dims, kind="constant")


@rule("pixel_shuffle", "pixel_unshuffle", "native_channel_shuffle", "channel_shuffle")
def shuffle(r: Reading, call: Call) -> Value:
    """Channels that become positions, positions that become channels, or channels dealt out anew."""
    value, shape = r.settle(call.first), call.shape
    if "channel_shuffle" in call.name:
        lead, c, rest = value.shape[:1], value.shape[1], value.shape[2:]
        v = reshaped(r, value, [*lead, call["groups"], c // call["groups"], *rest])
        v = v.but(dims=(v.dims[0], v.dims[2], v.dims[1], *v.dims[3:]))
        return reshaped(r, v, shape)
    *front, c, h, w = value.shape
    n = len(front)
    if call.name == "pixel_shuffle":
        f = call["upscale_factor"]
        v = reshaped(r, value, [*front, c // f**2, f, f, h, w])
        order = [*range(n + 1), n + 3, n + 1, n + 4, n + 2]
    else:
        f = call["downscale_factor"]
        v = reshaped(r, value, [*front, c, h // f, f, w // f, f])
        order = [*range(n + 1), n + 2, n + 4, n + 1, n + 3]
    return reshaped(r, v.but(dims=tuple(v.dims[i] for i in order)), shape)


@rule("unfold")
def unfold(r: Reading, call: Call) -> Value:
    """Overlapping windows of a dimension."""
    value = r.settle(call.first)
    d = call["dimension"] % len(value.dims)
    r.tell_apart(value, value.dims[d], "windows along them")
    fields = r.reduce(value, set(value.dims[d]))
    new = fresh_axes((call.shape[d], call.shape[-1]))
    return value.but(dims=(*with_dim(value.dims, d, new[0]), new[1]), fields=fields)


@rule("im2col", "col2im")
def columns(r: Reading, call: Call) -> Value:
    """Windows of an image as features, or back: channels first, kernel positions after them."""
    value = r.settle(call.first)
    kernel = list(call["kernel_size"])
    lead = len(value.dims) - (3 if call.name == "im2col" else 2)
    dims = list(value.dims)
    if call.name == "im2col":
        features = (*dims[lead], *(x for dim in fresh_axes(tuple(kernel)) for x in dim))
        out = [*dims[:lead], features, *fresh_axes(call.shape[-1:])]
        gone = {x for dim in dims[lead + 1 :] for x in dim}
    else:
        channels = call.shape[lead]
        value = reshaped(r, value, [*value.shape[:lead], channels, prod(kernel), value.shape[-1]])
        out = [*value.dims[: lead + 1], *fresh_axes(call.shape[-2:])]
        gone = {x for dim in value.dims[lead + 1 :] for x in dim}
    r.tell_apart(value, gone, f"{call.name} along them")
    return value.but(dims=tuple(out), fields=r.reduce(value, gone))


@rule("diagonal")
def diagonal(r: Reading, call: Call) -> Value:
    """A diagonal of two dimensions."""
    value = r.settle(call.first)
    gone = {x for d in (call["dim1"], call["dim2"]) for x in value.dims[d]}
    r.tell_apart(value, gone, "a diagonal of them")
    rank = len(value.dims)
    left = [dim for d, dim in enumerate(value.dims) if d not in (call["dim1"] % rank, call["dim2"] % rank)]
    return value.but(dims=(*left, *fresh_axes(call.shape[-1:])), fields=r.reduce(value, gone))


@rule("view_as_complex")
def as_complex(r: Reading, call: Call) -> Value:
    """Pairs of numbers become one; the pair's axis is remembered."""
    value = r.settle(call.first)
    r.tell_apart(value, value.dims[-1], "real and imaginary part")
    return value.but(dims=value.dims[:-1], extra={"complex": value.dims[-1]})


@rule("view_as_real")
def as_real(r: Reading, call: Call) -> Value:
    """Complex numbers become pairs again."""
    value = call.first
    pair = value.extra.get("complex") or (Axis(2),)
    return value.but(dims=(*value.dims, pair))
