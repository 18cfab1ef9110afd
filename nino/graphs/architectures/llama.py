"""Llama and the like (Mistral, Qwen2, Qwen3, Gemma) as released; their exact graphs are recorded."""

from __future__ import annotations

from typing import Any

from nino.graphs.architectures.attention import attention
from nino.graphs.architectures.heads import body_of, linear_heads
from nino.graphs.builder import GraphBuilder
from nino.graphs.core import EdgeType
from nino.graphs.neurons import Neurons


def declare_llama(b: GraphBuilder, model: Any) -> None:
    """Declare a Llama-style body and whatever linear heads stand on it.

    Args:
        b: the builder.
        model: a ``LlamaModel`` or a model around one, or the like.
    """
    body, prefix = body_of(model)
    config = body.config
    words = b.group("words", config.vocab_size, fixed=True, words=True)
    x = b.group("x.0", config.hidden_size)
    b.embedding(words, x, f"{prefix}embed_tokens.weight", EdgeType.WORD_EMBEDDING, scrambled=True)
    for i in range(config.num_hidden_layers):
        x = _layer(b, x, f"{prefix}layers.{i}", i, config.num_attention_heads, config.num_key_value_heads)
    b.norm(x, f"{prefix}norm")
    linear_heads(b, model, body, x)


def _layer(b: GraphBuilder, x: Neurons, name: str, i: int, heads: int, kv_heads: int) -> Neurons:
    """One block: x -> y (attention) -> z (MLP)."""
    projections = [f"{name}.self_attn.{p}_proj" for p in "qkv"]
    weights = [b.weight(f"{p}.weight") for p in projections]
    biases = [b.weight(f"{p}.bias") for p in projections] if f"{projections[0]}.bias" in b else None
    norms = (f"{name}.self_attn.q_norm.weight", f"{name}.self_attn.k_norm.weight")
    out = attention(b, f"attention.{i}", x, heads, kv_heads, weights, biases, norms=norms)
    y = b.group(f"y.{i}", x.size)
    b.residual(x, y)
    b.linear(out, y, f"{name}.self_attn.o_proj")
    return _mlp(b, y, name, i)


def _mlp(b: GraphBuilder, y: Neurons, name: str, i: int) -> Neurons:
    """``up_proj`` reads a second copy of the residual neurons that nothing feeds; both norms stand on the output."""
    copy = b.group(f"copy.{i}", y.size)
    f = b.group(f"f.{i}", b.weight(f"{name}.mlp.gate_proj.weight").shape[0])
    b.linear(y, f, f"{name}.mlp.gate_proj")
    b.linear(copy, f, f"{name}.mlp.up_proj")
    z = b.group(f"x.{i + 1}", y.size)
    b.residual(y, z)
    b.residual(copy, z)
    b.linear(f, z, f"{name}.mlp.down_proj")
    b.norm(z, f"{name}.input_layernorm")
    b.norm(z, f"{name}.post_attention_layernorm")
    return z
