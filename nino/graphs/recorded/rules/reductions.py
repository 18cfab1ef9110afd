"""Operations that are symmetric in what they reduce, and those along a dimension that are not."""

from __future__ import annotations

from nino.graphs.recorded.reading import Reading, fresh_axes
from nino.graphs.recorded.rules.base import Call, rule
from nino.graphs.recorded.values import Axis, Dim, Value


def dims_of(call: Call, value: Value) -> list[int]:
    """The dimensions that a reduction is over: all of them where none is said."""
    rank = len(value.dims)
    dims = call.get("dim")
    if isinstance(dims, int):
        dims = [dims]
    if not dims:
        return list(range(rank))
    return [d % rank for d in dims]


@rule("sum", "mean", "nanmean", "nansum", "amax", "amin", "aminmax", "max", "min", "var", "std", "var_mean", "std_mean",
      "logsumexp", "any", "all", "prod", "norm", "linalg_vector_norm", "count_nonzero", "median",
      "nanmedian", "linalg_matrix_norm", "frobenius_norm", "argmax", "argmin")  # fmt: skip
def reduction(r: Reading, call: Call) -> list[Value | None]:
    """Sums, means, largest values: symmetric in what they are over."""
    values = call.values
    if len(values) == 2:  # the larger of two tensors, element by element
        return [r.combine(values[0], values[1], "product")]
    value = r.settle(call.first)
    dims = dims_of(call, value)
    gone = {x for d in dims for x in value.dims[d]}
    index = call.name in ("argmax", "argmin")
    if index:
        r.tell_apart(value, gone, f"{call.name} gives their numbers")
    fields = r.summed(value, gone)
    keep = bool(call.get("keepdim", False))
    left: list[Dim] = [() if d in dims else dim for d, dim in enumerate(value.dims) if d not in dims or keep]
    out = value.but(dims=tuple(left), fields=fields, fresh=0)
    if len(call.outputs) == 2 and call.name in ("max", "min", "median", "nanmedian"):
        return [out, Value(tuple(left), extra={"numbered": (value, gone, f"the indices of a {call.name} are used")})]
    return [out if t is not None else None for t in call.outputs]


@rule("_softmax", "_log_softmax", "softmax", "log_softmax", "_safe_softmax", "softmax_int", "_softmax_backward_data")
def softmax(r: Reading, call: Call) -> Value:
    """Symmetric along its dimension; a product of queries and keys becomes attention."""
    value = r.settle(call.first)
    out = value.but(extra=value.extra)
    if value.pair is not None and value.dims:
        one, other, of_one, of_other = value.pair
        dim = value.dims[call["dim"] % len(value.dims)]
        if of_other in dim or of_one in dim:
            queries, keys = (one, other) if of_other in dim else (other, one)
            axis = of_other if of_other in dim else of_one
            out = out.but(extra={**value.extra, "attention": (queries, keys, axis)})
    return out


@rule("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin", "sort", "topk", "argsort", "kthvalue", "_unique2",
      "msort", "multinomial", "bucketize", "histc", "bincount")  # fmt: skip
def ordered(r: Reading, call: Call) -> list[Value | None]:
    """Operations that see the order along a dimension."""
    value = r.settle(call.first)
    rank = len(value.dims)
    d = call.get("dim", -1) % rank if rank else 0
    axes = set(value.dims[d]) if rank else set()
    r.tell_apart(value, axes, f"{call.name} along them")
    fields = r.reduce(value, axes, "slices")
    out: list[Value | None] = []
    for t in call.outputs:
        if t is None or len(t.shape) != rank:
            out.append(None if t is None else Value(fresh_axes(tuple(t.shape))))
            continue
        if call.name in ("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"):
            out.append(value.but())
            continue
        size = t.shape[d]
        new: Dim = (Axis(size),) if size != 1 else ()
        out.append(value.but(dims=(*value.dims[:d], new, *value.dims[d + 1 :]), fields=fields))
    return out


@rule("_cdist_forward", "_euclidean_dist")
def distances(r: Reading, call: Call) -> Value:
    """Distances of rows (..., n, k) and (..., m, k): symmetric in k, where both differ in the same neurons."""
    one, other = (_widened(value, d) for value, d in zip(call.values, (-1, -2), strict=True))
    both = r.combine(one, other, "sum")
    return both.but(dims=both.dims[:-1], fields=r.summed(both, set(both.dims[-1])), fresh=0)


def _widened(value: Value, d: int) -> Value:
    """A tensor with a dimension of size 1 before its d-th from the end."""
    at = len(value.dims) + d
    window = None if value.window is None else value.window.unsqueeze(at)
    return value.but(dims=(*value.dims[:at], (), *value.dims[at:]), window=window)


_SPATIAL = {"1d": 1, "2d": 2, "3d": 3}


@rule("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d",
      "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d",
      "adaptive_avg_pool2d", "adaptive_max_pool2d", "adaptive_max_pool3d", "adaptive_max_pool1d",
      "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
      "_upsample_nearest_exact2d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_linear1d",
      "upsample_trilinear3d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "fractional_max_pool2d",
      "max_pool1d_with_indices", "mkldnn_max_pool2d", "adaptive_avg_pool3d")  # fmt: skip
def pooling(r: Reading, call: Call) -> list[Value | None]:
    """Positions pooled or resampled; neurons along these dimensions are told apart."""
    value = r.settle(call.first)
    n = next(n for mark, n in _SPATIAL.items() if mark in call.name)
    return [None if t is None else respaced(r, value, n, tuple(t.shape), call.name) for t in call.outputs]


def respaced(r: Reading, value: Value, n: int, shape: tuple[int, ...], what: str) -> Value:
    """A tensor with other positions along its last ``n`` dimensions."""
    gone = {x for dim in value.dims[len(value.dims) - n :] for x in dim}
    r.tell_apart(value, {x for x in gone if not x.uniform}, f"{what} along them")
    dims = (*value.dims[: len(value.dims) - n], *fresh_axes(shape[len(shape) - n :]))
    return value.but(dims=dims, fields=r.reduce(value, gone, "slices"), fresh=0)
