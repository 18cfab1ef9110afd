"""Convolutions: an edge holds the kernel between two channels."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from nino.graphs.core import EdgeType
from nino.graphs.recorded.neurons import Labels
from nino.graphs.recorded.placing import End, Placement
from nino.graphs.recorded.reading import Reading
from nino.graphs.recorded.rules.base import Call, rule
from nino.graphs.recorded.rules.contractions import join_rows
from nino.graphs.recorded.rules.views import reshaped
from nino.graphs.recorded.values import Axis, Dim, Field, Value, axes_for


@rule("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution", "conv1d", "conv2d", "conv3d",
      "convolution_overrideable", "_conv_depthwise2d", "slow_conv3d", "thnn_conv2d")  # fmt: skip
def convolution(r: Reading, call: Call) -> Value:
    """A convolution, transposed or not, in groups or depth-wise: an edge holds a channel pair's kernel."""
    x, weight, bias = r.settle(call["input"]), call["weight"], call.get("bias")
    groups, transposed = int(call.get("groups", 1)), bool(call.get("transposed", False))
    n = len(x.dims) - 2
    space = {axis for dim in x.dims[2:] for axis in dim}
    r.tell_apart(x, {axis for axis in space if not axis.uniform}, "a convolution along them")
    x = x.but(fields=r.reduce(x, space, "slices"))
    x = r.flatten(x, x.dims[1], "channels")
    if weight.kind != "weight":
        r.tell_apart(weight, weight.axes, "a convolution with them")
        r.tell_apart(x, x.axes, "a convolution with a tensor")
        return Value((x.dims[0], *axes_for(call.shape[1:])))
    sources = r.row(x, 1)
    r.neurons.read(sources)
    r.neurons.meet(sources)  # the channels of a learned constant too
    out_dim, targets = _kernels(r, call, weight, sources, groups, transposed)
    gone = set(x.dims[1])
    left = tuple(f for f in r.reduce(x, gone, "slices") if f.axes or x.dims[1])
    dims = (x.dims[0], out_dim, *axes_for(call.shape[len(call.shape) - n :]))
    out = Value(dims, r.untangle((*left, Field(out_dim, targets))), fresh=2)
    if bias is None:
        return out
    window = None if bias.window is None else bias.window[(..., *((None,) * n))]
    return r.combine(out, replace(bias, dims=bias.dims + ((),) * n, window=window), "sum", EdgeType.BIAS)


def _kernels(
    r: Reading, call: Call, weight: Value, sources: Labels, groups: int, transposed: bool
) -> tuple[Dim, Labels]:
    """Place a kernel (out, in / groups, ...), or (in, out / groups, ...); gives the output channels."""
    channels = call.shape[1]
    out_dim: Dim = (Axis(channels),) if channels != 1 else ()
    size = tuple(axis.size for axis in out_dim)
    if weight.window is None:
        shape = [groups, weight.shape[0] // groups, *weight.shape[1:]]
        value = reshaped(r, weight, shape)
        return out_dim, _again(r, value, sources, transposed, channels).reshape(size)
    window = weight.window
    name = r.weights.window(window)[1]
    kernel = window.unflatten(
        0, (groups, window.shape[0] // groups)
    )  # (groups, out, in, ...) or (groups, in, out, ...)
    dims = axes_for(tuple(kernel.shape))
    value = Value(dims, kind="weight", window=kernel)
    if r.placed(value):
        return out_dim, _again(r, r.settle(value), sources, transposed, channels).reshape(size)
    targets = r.neurons.new(name, size, met=True)
    group, one, other, *places = dims
    reads, writes = (one, other) if transposed else (other, one)
    if _is_patch(call, r, sources, kernel, transposed, groups):
        inner = (*reads, *(axis for dim in places for axis in dim))
        nodes = _patch_nodes(r, sources, tuple(axis.size for axis in inner))
        r.place(value, [(writes, targets.reshape([a.size for a in writes])), (inner, nodes)], EdgeType.LINEAR)
        return out_dim, targets
    ends = [
        ((*group, *writes), targets.reshape([axis.size for axis in (*group, *writes)])),
        ((*group, *reads), sources.reshape([axis.size for axis in (*group, *reads)])),
    ]
    r.place(value, ends, EdgeType.CONV)
    return out_dim, targets


def _is_patch(call: Call, r: Reading, sources: Labels, kernel: Any, transposed: bool, groups: int) -> bool:
    """Whether a convolution cuts the network's input into patches of more positions than an edge holds."""
    sizes = list(kernel.shape[3:])
    apart = not transposed and groups == 1 and list(call.get("stride", [])) == sizes and prod(sizes) > 9
    return apart and bool(r.neurons.fixed(sources).all())


def _patch_nodes(r: Reading, sources: Labels, shape: tuple[int, ...]) -> Labels:
    key = ("patch", sources.tobytes(), shape)
    if key not in r.memory:
        r.memory[key] = r.neurons.new("input", shape, met=True, fixed=True)
    return r.memory[key]


def _again(r: Reading, weight: Value, sources: Labels, transposed: bool, channels: int) -> Labels:
    """A kernel (groups, ...) that has been placed, or is computed: it reads what it read, or is tied to it."""
    group, one, other = weight.dims[:3]
    reads, writes = (one, other) if transposed else (other, one)
    rows, targets = _over(weight, (*group, *reads)), _over(weight, (*group, *writes))
    patch = next((f for f in weight.fields if set(f.axes) > {*group, *reads}), None)
    if rows is not None:
        join_rows(r, sources.reshape(rows.shape), rows)
    elif patch is not None and not r.neurons.fixed(patch.labels).all():
        r.stop(weight.made_of, "a convolution with a weight whose channels and places are one dimension")
    elif patch is None and not _regrouped(r, weight, sources, group, reads, writes):
        r.stop(weight.made_of, "a convolution in groups with a weight that is computed")
    if targets is None or targets.size != channels:
        return r.neurons.new("channels", (channels,), met=True, fixed=True)
    r.neurons.meet(targets)
    return targets.reshape(-1)


def _regrouped(r: Reading, weight: Value, sources: Labels, group: Dim, reads: Dim, writes: Dim) -> bool:
    """Give the parameters that a computed grouped kernel is made of a source of its own for each group."""
    loose, targets = _over(weight, reads), _over(weight, (*group, *writes))
    if loose is None or targets is None or r.neurons.met(loose).any():
        return False
    rows = sources.reshape(group[0].size, *loose.shape)
    for key, place in r.placements.items():
        ends = {tuple(r.neurons.find(e.labels).reshape(-1).tolist()): e for e in place.ends if len(e.dims) == 1}
        read, written = (ends.get(tuple(r.neurons.find(x).reshape(-1).tolist())) for x in (loose, targets))
        if place.name not in weight.made_of or read is None:
            continue
        if written is None:
            return False
        at = written.dims[0]
        shift = {d: d + (d > at) for d in range(place.window.ndim)}
        window = place.window.unflatten(at, targets.shape if writes else (targets.size, 1))
        out = End((at, at + 1), targets.reshape(group[0].size, -1))
        inner = End((at, shift[read.dims[0]]), rows)
        rest = [
            End(tuple(shift[d] for d in e.dims), e.labels) for e in place.ends if e is not read and e is not written
        ]
        r.regrouped[key] = Placement(place.name, window, (out, inner, *rest), EdgeType.CONV)
    return True


def _over(weight: Value, axes: Dim) -> Labels | None:
    f = next((f for f in weight.fields if set(f.axes) == set(axes)), None)
    return None if f is None else np.ascontiguousarray(f.along(axes))
