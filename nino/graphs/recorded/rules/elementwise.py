"""Operations that act on each element for itself."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from nino.graphs.core import EdgeType
from nino.graphs.recorded.reading import Mode, Reading, fresh_axes
from nino.graphs.recorded.rules.base import Call, rule
from nino.graphs.recorded.rules.views import taken
from nino.graphs.recorded.values import Value, axes_for, size_of

_SUMS = {"add", "sub", "rsub", "subtract", "lerp", "logaddexp", "where", "masked_fill", "copy", "maximum", "minimum"}
_LINEAR = {"add", "sub", "mul", "div", "neg", "clone", "_to_copy", "contiguous", "dropout", "native_dropout", "alias",
           "detach", "lift_fresh", "lift_fresh_copy", "masked_fill", "where", "to"}  # fmt: skip
_ACTIVATION = {"prelu", "_prelu_kernel", "rrelu_with_noise"}


@rule("pointwise", "copy", "where", "masked_fill", "lerp", "floor_divide", "remainder", "__and__", "__or__", "isin",
      "isfinite", "isclose", "prelu", "_prelu_kernel", "rrelu_with_noise")  # fmt: skip
def pointwise(r: Reading, call: Call) -> Value:
    """Tensors joined element by element; a single one keeps its neurons."""
    values = [v for v in call.values if not _number(v)]
    if not values:
        return Value(fresh_axes(call.shape), kind=call.first.kind)
    if call.name == "copy":
        return _copied(r, call)
    mode: Mode = "sum" if call.name in _SUMS else "product"
    edge_type = EdgeType.NORM if mode == "product" else EdgeType.BIAS
    if call.name in _ACTIVATION:
        edge_type = EdgeType.BIAS
    if len(values) == 1:
        out = unary(r, values[0], call.name)
    else:
        out = reduce(lambda a, b: r.combine(a, b, mode, edge_type), values)
        if call.name not in _LINEAR:
            out = replace(out, fresh=0)
    return _broadcast(out, call.shape)


@rule("addcmul", "addcdiv")
def addcmul(r: Reading, call: Call) -> Value:
    """``a + b * c``, element by element."""
    a, b, c = call.values
    return r.combine(a, r.combine(b, c, "product", EdgeType.NORM), "sum")


@rule("clone", "contiguous", "_to_copy", "alias", "detach", "lift_fresh", "lift_fresh_copy", "to", "bernoulli",
      "native_dropout", "dropout", "_fused_dropout", "alpha_dropout", "triu", "tril", "view_copy", "nan_to_num",
      "real", "imag", "conj", "_conj", "_neg_view", "resolve_conj", "resolve_neg", "conj_physical")  # fmt: skip
def same(r: Reading, call: Call) -> list[Value | None]:
    """The same elements, or some of them zeroed."""
    value = call.first
    if call.name in ("triu", "tril"):
        r.tell_apart(value, set(value.axes[-2:]), "a triangle of them")
    out = unary(r, value, call.name)
    return [out if t is not None else None for t in call.outputs]


def unary(r: Reading, value: Value, name: str) -> Value:
    """The same neurons, no longer a plain sum where the operation is not linear."""
    fresh = value.fresh if name in _LINEAR else 0
    return r.settle(value).but(fresh=fresh, pair=value.pair, extra=value.extra)


def _number(value: Value) -> bool:
    """Whether a tensor is a constant number."""
    return value.kind == "constant" and not value.axes


def _broadcast(value: Value, shape: tuple[int, ...]) -> Value:
    """A result that in-place operations or numbers have broadcast to a larger shape."""
    if value.shape == shape:
        return value
    more = len(shape) - len(value.dims)
    dims = ((),) * more + value.dims
    new = axes_for(shape, uniform=True)
    return replace(value, dims=tuple(d or n for d, n in zip(dims, new, strict=True)))


def _copied(r: Reading, call: Call) -> Value:
    """``target.copy_(source)``: the source."""
    values = call.values
    return _broadcast(unary(r, values[-1], "clone"), call.shape)


@rule("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones",
      "new_full", "new_empty", "new_empty_strided", "empty_strided", "zero", "fill", "normal", "uniform",
      "exponential", "random", "bernoulli_p", "randint_like", "zeros", "ones", "full", "empty", "scalar_tensor",
      "rand", "randn", "randint", "randperm")  # fmt: skip
def filled(r: Reading, call: Call) -> Value:
    """A tensor whose elements are all alike, or drawn alike."""
    return Value(axes_for(call.shape, uniform=True), kind="constant")


@rule("glu")
def glu(r: Reading, call: Call) -> Value:
    """First half times the sigmoid of the second."""
    import numpy as np

    value = call.first
    d = call.get("dim", -1) % len(value.dims)
    half = size_of(value.dims[d]) // 2
    a = taken(r, value, d, np.arange(half))
    b = taken(r, value, d, np.arange(half, 2 * half))
    return r.combine(replace(a, fresh=value.fresh), replace(b, fresh=0), "product")
