"""What functions and tensor methods in a forward do to signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from nino.graphs.core import EdgeType
from nino.graphs.feedforward.layers import flattened
from nino.graphs.feedforward.signals import Attribute, Input, Signal, Unknown, Value
from nino.graphs.feedforward.wiring import Wiring

_SUM = "add iadd add_ radd sub isub sub_ subtract".split()
_PRODUCT = "mul imul mul_ rmul multiply truediv div div_ true_divide".split()
#: Nothing but positions, or the layout in memory, changes.
_SAME = """contiguous clone detach to float half double type type_as dropout dropout1d dropout2d dropout_
    feature_dropout stochastic_depth drop_path identity squeeze unsqueeze expand expand_as""".split()
#: Each neuron for itself, or over positions only.
_EACH = """
    relu relu_ relu6 leaky_relu leaky_relu_ elu elu_ selu celu gelu silu mish softplus hardswish hardtanh
    hardsigmoid hardswish_ sigmoid sigmoid_ tanh tanh_ logsigmoid softsign softmax log_softmax exp log sqrt pow
    square abs neg clamp clamp_ mean sum amax amin max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d
    avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d interpolate upsample pad normalize repeat
""".split()
_PERMUTE = "permute transpose movedim moveaxis swapaxes swapdims".split()


def apply(w: Wiring, operation: str, args: Sequence[Value], kwargs: dict[str, Any], name: str) -> Value:
    """The result of an operation.

    Args:
        w: the wiring.
        operation: name of the function or method.
        args: its arguments; of a method, the tensor first.
        kwargs: its keyword arguments.
        name: what to call the result.

    Returns:
        A signal, a tuple of them, None for numbers and shapes, or Unknown.
    """
    x = args[0] if args else None
    flat = [a for arg in args for a in (arg if isinstance(arg, tuple | list) else [arg])]
    unknown = next((a for a in flat if isinstance(a, Unknown)), None)
    if operation == "getitem" and isinstance(x, tuple):
        return x[args[1]] if isinstance(args[1], int) else x
    if not any(isinstance(a, Signal | Input | Attribute | Unknown) for a in flat):
        return None
    if operation in ("size", "getattr", "dim", "numel", "len", "shape"):
        return None
    if unknown is not None:
        return unknown
    if operation in _SUM or operation in _PRODUCT:
        return w.combine(args[0], args[1], name, gate=operation in _PRODUCT)
    if operation in _SAME:
        return x
    if operation in _EACH:
        return x.stale() if isinstance(x, Signal) else x
    if operation in _PERMUTE:
        return replace(x, moved=True, fresh=False) if isinstance(x, Signal) else x
    special = _SPECIAL.get(operation)
    return special(w, x, args[1:], kwargs, name) if special else Unknown(f"operation {operation!r} is not known")


def _flatten(w: Wiring, x: Value, args: Sequence[Any], kwargs: dict[str, Any], name: str) -> Value:
    start = kwargs.get("start_dim", args[0] if args else 0)
    if start == 1:
        return flattened(x)
    return x.stale() if isinstance(x, Signal) and start > 1 else Unknown(f"{name!r} flattens from dimension {start}")


def _view(w: Wiring, x: Value, args: Sequence[Any], kwargs: dict[str, Any], name: str) -> Value:
    shape = args[0] if args and isinstance(args[0], tuple | list) else args
    return flattened(x) if len(shape) == 2 else Unknown(f"{name!r} changes the shape to {len(shape)} dimensions")


def _concatenate(w: Wiring, x: Value, args: Sequence[Any], kwargs: dict[str, Any], name: str) -> Value:
    dim = kwargs.get("dim", args[0] if args else 0)
    signals = [value for value in x if isinstance(value, Signal)]
    tokens = [value for value in x if isinstance(value, Attribute)]
    if dim == 1 and len(signals) == 1 and tokens and len(signals) + len(tokens) == len(x):
        for token in tokens:  # a class token is prepended to a sequence
            w.attribute(signals[0], token, EdgeType.WORD_EMBEDDING)
        return signals[0].stale()
    if dim not in (1, -1) or len(signals) != len(x):
        return Unknown(f"{name!r} joins along dimension {dim}, or what no layer computed")
    parts = tuple(part for signal in signals for part in signal.parts)
    return Signal(parts, flat=any(s.flat for s in signals), moved=any(s.moved for s in signals))


def _split(w: Wiring, x: Value, args: Sequence[Any], kwargs: dict[str, Any], name: str) -> Value:
    return _parts(
        x,
        args,
        kwargs,
        name,
        lambda size, given: given if isinstance(given, list | tuple) else [given] * (size // given),
    )


def _chunk(w: Wiring, x: Value, args: Sequence[Any], kwargs: dict[str, Any], name: str) -> Value:
    return _parts(x, args, kwargs, name, lambda size, given: [size // given] * given)


def _parts(
    x: Value, args: Sequence[Any], kwargs: dict[str, Any], name: str, sizes: Callable[[int, Any], Sequence[int]]
) -> Value:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    given = (
        args[0] if args else next(kwargs[k] for k in ("chunks", "split_size", "split_size_or_sections") if k in kwargs)
    )
    if not isinstance(x, Signal) or dim not in (1, -1) or sum(sizes(x.size, given)) != x.size:
        return Unknown(f"{name!r} splits other than channels into whole parts")
    bounds = [0]
    for size in sizes(x.size, given):
        bounds.append(bounds[-1] + size)
    return tuple(x.cut(a, b) for a, b in zip(bounds, bounds[1:], strict=False))


def _item(w: Wiring, x: Value, args: Sequence[Any], kwargs: dict[str, Any], name: str) -> Value:
    index = args[0] if isinstance(args[0], tuple) else (args[0],)
    channels = index[1] if len(index) > 1 else slice(None)
    if isinstance(x, Signal) and (isinstance(channels, int) or channels in (slice(None), Ellipsis)):
        return x.stale()  # a token or a position of each sequence
    return Unknown(f"{name!r} takes a part of a signal")


_SPECIAL: dict[str, Callable[..., Value]] = {
    "flatten": _flatten,
    "view": _view,
    "reshape": _view,
    "cat": _concatenate,
    "concat": _concatenate,
    "concatenate": _concatenate,
    "split": _split,
    "chunk": _chunk,
    "getitem": _item,
}
