"""Normalisations: symmetric in what they normalise, with scales and biases joined to it."""

from __future__ import annotations

from dataclasses import replace

from nino.graphs.core import EdgeType
from nino.graphs.recorded.reading import Reading, fresh_axes
from nino.graphs.recorded.rules.base import Call, blank, rule
from nino.graphs.recorded.rules.views import reshaped
from nino.graphs.recorded.values import Value


def _affine(r: Reading, value: Value, weight: Value | None, bias: Value | None) -> Value:
    """Scale and bias."""
    fresh = min(value.fresh, 1)
    out = value.but(fresh=fresh, extra=value.extra)
    if weight is not None:
        out = r.combine(out, weight, "product", EdgeType.NORM)
    if bias is not None:
        out = r.combine(out, bias, "sum", EdgeType.BIAS)
    return replace(out, fresh=fresh)


@rule("native_layer_norm", "layer_norm", "_fused_rms_norm", "rms_norm")
def layer_norm(r: Reading, call: Call) -> list[Value | None]:
    """Over the last dimensions."""
    value = r.settle(call.get("input") or call.first)
    out: list[Value | None] = [_affine(r, value, call.get("weight"), call.get("bias"))]
    return out + [_statistics(r, value, len(call["normalized_shape"]))] * (len(call.outputs) - 1)


def _statistics(r: Reading, value: Value, n: int) -> Value:
    gone = {x for dim in value.dims[len(value.dims) - n :] for x in dim}
    dims = (*value.dims[: len(value.dims) - n], *((),) * n)
    return value.but(dims=dims, fields=r.summed(value, gone), fresh=0)


@rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "batch_norm",
      "_native_batch_norm_legit_functional", "cudnn_batch_norm", "_batch_norm_with_update",
      "_batch_norm_no_update", "_batch_norm_impl_index", "native_batch_norm_out", "miopen_batch_norm")  # fmt: skip
def batch_norm(r: Reading, call: Call) -> list[Value | None]:
    """Over all dimensions but the second."""
    value = r.settle(call.get("input") or call.first)
    more = len(value.dims) - 2
    out = value
    for state in ("running_mean", "running_var"):
        if (buffer := call.get(state)) is not None and buffer.kind == "weight":
            out = replace(r.combine(out, _column(buffer, more), "product"), fresh=out.fresh)
    weight, bias = (None if (p := call.get(n)) is None else _column(p, more) for n in ("weight", "bias"))
    result: list[Value | None] = [_affine(r, out, weight, bias)]
    for t in call.outputs[1:]:
        same = t is not None and tuple(t.shape) == value.shape[1:2]  # statistics; in evaluation mode there are none
        result.append(None if t is None else Value((value.dims[1],) if same else fresh_axes(tuple(t.shape))))
    return result


def _column(value: Value, more: int) -> Value:
    window = value.window
    if window is not None:
        window = window[(..., *((None,) * more))]
    return value.but(dims=value.dims + ((),) * more, window=window)


@rule("native_group_norm", "group_norm")
def group_norm(r: Reading, call: Call) -> list[Value | None]:
    """Over groups of channels: in each group they are symmetric."""
    value = r.settle(call.get("input") or call.first)
    groups, channels = call.get("group", call.get("num_groups")), value.shape[1]
    out = value
    if 1 < groups < channels:
        parts = reshaped(r, value, [value.shape[0], groups, channels // groups, *value.shape[2:]])
        r.reduce(parts, {x for dim in parts.dims[2:] for x in dim}, "groups")
        out = reshaped(r, replace(parts, fresh=value.fresh), value.shape)
    more = len(value.dims) - 2
    weight, bias = (None if (p := call.get(n)) is None else _column(p, more) for n in ("weight", "bias"))
    return [_affine(r, replace(out, fresh=value.fresh), weight, bias), *blank(call)[1:]]


@rule("_weight_norm_interface", "_weight_norm")
def weight_norm(r: Reading, call: Call) -> list[Value | None]:
    """The direction ``v / |v|`` times ``g``: the direction's neurons, scaled by g."""
    v, g = r.settle(call["v"]), call["g"]
    out = r.merge(*r.align(v, r.settle(g)), "product", EdgeType.NORM)
    return [out, None][: len(call.outputs)] if len(call.outputs) < 2 else [out, _norms(out, g)]


def _norms(out: Value, g: Value) -> Value:
    return Value(tuple(() if not d else out.dims[i] for i, d in enumerate(g.dims)), kind="weight")
