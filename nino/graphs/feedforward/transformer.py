"""The attention layers of ``torch.nn``."""

from __future__ import annotations

from torch import nn

from nino.graphs.architectures.attention import attention
from nino.graphs.feedforward.signals import Signal, Unknown, Value
from nino.graphs.feedforward.wiring import Wiring
from nino.graphs.neurons import Neurons


def self_attention(
    w: Wiring, m: nn.MultiheadAttention, name: str, query: Value, key: Value = None, value: Value = None, *_: Value
) -> Value:
    """``nn.MultiheadAttention`` of a signal with itself: (output, attention weights)."""
    signal = w.read(query, m.embed_dim, name)
    if key is not None and (key != query or value != query):
        signal = Unknown(f"{name!r} attends to another signal than it asks for")
    if isinstance(signal, Unknown):
        for parameter in m.parameters():
            w.leave(parameter, signal.reason)
        return (signal, None)
    x = w.single(signal, f"{name}.input")
    y = w.b.group(w.b.unused(name), m.embed_dim)
    _attend(w, m, name, x, y)
    return (Signal((y,), fresh=True), None)


def encoder_layer(w: Wiring, m: nn.TransformerEncoderLayer, name: str, x: Value, *_: Value) -> Value:
    """``nn.TransformerEncoderLayer``, norms first or last."""
    d = m.self_attn.embed_dim
    signal = w.read(x, d, name)
    if isinstance(signal, Unknown):
        for parameter in m.parameters():
            w.leave(parameter, signal.reason)
        return signal
    x0 = w.single(signal, f"{name}.input")
    y, f, z = (w.b.group(w.b.unused(f"{name}.{part}"), size) for part, size in _sizes(m, d))
    w.b.residual(x0, y)
    _attend(w, m.self_attn, f"{name}.self_attn", x0, y)
    w.b.residual(y, z)
    w.b.linear(y, f, f"{name}.linear1")
    w.b.linear(f, z, f"{name}.linear2")
    for target, norm in zip((x0, y) if m.norm_first else (y, z), ("norm1", "norm2"), strict=True):
        w.b.norm(target, f"{name}.{norm}")
    return Signal((z,), moved=signal.moved)


def encoder(w: Wiring, m: nn.TransformerEncoder, name: str, x: Value, *_: Value) -> Value:
    """``nn.TransformerEncoder``: its layers, and a last norm if any."""
    for i, layer in enumerate(m.layers):
        x = encoder_layer(w, layer, f"{name}.layers.{i}", x)
    if m.norm is not None and isinstance(x, Signal):
        w.b.norm(x.parts[0], f"{name}.norm")
    return x


def _sizes(m: nn.TransformerEncoderLayer, d: int) -> tuple[tuple[str, int], ...]:
    return (("attended", d), ("hidden", m.linear1.out_features), ("output", d))


def _attend(w: Wiring, m: nn.MultiheadAttention, name: str, x: Neurons, y: Neurons) -> None:
    """Attention of ``x`` to itself, projected to ``y``."""
    if m.in_proj_weight is not None:
        weights = list(w.window(m.in_proj_weight).chunk(3))
    else:
        weights = [w.window(p) for p in (m.q_proj_weight, m.k_proj_weight, m.v_proj_weight)]
    biases = None if m.in_proj_bias is None else list(w.window(m.in_proj_bias).chunk(3))
    out = attention(w.b, name, x, m.num_heads, m.num_heads, weights, biases)
    w.b.linear(out, y, f"{name}.out_proj")
