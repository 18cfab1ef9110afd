"""GPT-2 (transformers): fused attention weights stored (in, out), pre-norm, learned positions."""

from __future__ import annotations

from typing import Any

from nino.graphs.architectures.attention import attention
from nino.graphs.architectures.heads import body_of, linear_heads
from nino.graphs.builder import GraphBuilder
from nino.graphs.core import EdgeType
from nino.graphs.neurons import Neurons


def declare_gpt2(b: GraphBuilder, model: Any) -> None:
    """Declare a GPT-2 body and whatever linear heads stand on it.

    Args:
        b: the builder.
        model: a ``GPT2Model`` or a model around one.
    """
    body, prefix = body_of(model)
    config = body.config
    d, heads = config.hidden_size, config.num_attention_heads
    words = b.group("words", config.vocab_size, fixed=True, words=True)
    x = b.group("x.0", d)
    positions = b.group("positions", config.max_position_embeddings, fixed=True, before=x)
    b.embedding(words, x, f"{prefix}wte.weight", EdgeType.WORD_EMBEDDING)
    b.embedding(positions, x, f"{prefix}wpe.weight", EdgeType.POSITION_EMBEDDING)
    for i in range(config.num_hidden_layers):
        x = _layer(b, x, f"{prefix}h.{i}", i, heads)
    b.norm(x, f"{prefix}ln_f")
    linear_heads(b, model, body, x)


def _layer(b: GraphBuilder, x: Neurons, name: str, i: int, heads: int) -> Neurons:
    """One block: x -> y (attention) -> z (MLP)."""
    d = x.size
    b.norm(x, f"{name}.ln_1")
    query, key, value = b.weight(f"{name}.attn.c_attn.weight").T.split(d)  # each (d, d)
    biases = b.weight(f"{name}.attn.c_attn.bias").split(d)
    out = attention(b, f"attention.{i}", x, heads, heads, (query, key, value), biases)
    y = b.group(f"y.{i}", d)
    b.residual(x, y)
    b.dense(out, y, b.weight(f"{name}.attn.c_proj.weight").T)
    b.bias(y, f"{name}.attn.c_proj.bias")
    b.norm(y, f"{name}.ln_2")
    inner = b.weight(f"{name}.mlp.c_fc.weight").T  # (d_ff, d)
    f = b.group(f"f.{i}", inner.shape[0])
    b.dense(y, f, inner)
    b.bias(f, f"{name}.mlp.c_fc.bias")
    z = b.group(f"x.{i + 1}", d)
    b.residual(y, z)
    b.dense(f, z, b.weight(f"{name}.mlp.c_proj.weight").T)
    b.bias(z, f"{name}.mlp.c_proj.bias")
    return z
