"""Parameters that nothing has met yet: windows on them, which views and copies only rearrange."""

from __future__ import annotations

from nino.graphs.recorded.calls import tensors_in
from nino.graphs.recorded.names import COPIES
from nino.graphs.recorded.reading import Reading, fresh_axes
from nino.graphs.recorded.rules import Call, rule_for
from nino.graphs.recorded.rules.views import reshaped
from nino.graphs.recorded.values import Value


def weight_of(reading: Reading, name: str) -> Value:
    """A parameter, or a buffer that the forward writes, as a forward pass finds it."""
    window = reading.weights.view(name)
    axes = fresh_axes(tuple(window.shape))
    return Value(axes, kind="weight", window=window, made_of=frozenset([name]), path=hash(name))


def viewed(reading: Reading, call: Call, weight: Value) -> list[Value | None]:
    """A view of a parameter that nothing has met: a window on it."""
    assert weight.window is not None
    if call.name in COPIES:
        return [weight] * len(call.outputs)
    named = {name: weight.window if isinstance(a, Value) else a for name, a in call.args.items()}
    by_key = {a.name for a in call.func._schema.arguments if a.kwarg_only}
    try:
        positional = [a for name, a in named.items() if name not in by_key]
        windows = tensors_in(call.func(*positional, **{k: a for k, a in named.items() if k in by_key}))
    except (RuntimeError, TypeError):
        settled = reading.settle(weight)
        made = rule_for(call.name, call.func)(reading, _with_first(call, settled))
        return [made] * len(call.outputs) if isinstance(made, Value) else list(made)
    out: list[Value | None] = []
    for window in windows:
        assert window is not None
        axes = fresh_axes(tuple(window.shape))
        if call.name in ("view", "_unsafe_view", "reshape", "_reshape_alias"):  # dimensions joined keep their axes
            axes = reshaped(reading, weight.but(fields=()), tuple(window.shape)).dims
        for dim, stride in zip(axes, window.stride(), strict=True):
            for axis in dim:
                axis.uniform = stride == 0
        out.append(Value(axes, kind="weight", window=window, made_of=weight.made_of))
    return out


def _with_first(call: Call, value: Value) -> Call:
    done = False
    args = {}
    for key, a in call.args.items():
        if isinstance(a, Value) and not done:
            args[key], done = value, True
        else:
            args[key] = a
    return Call(call.name, call.func, args, call.outputs)
