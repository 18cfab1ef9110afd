"""Vision transformers of torchvision and transformers: patch embedding, class token, pre-norm encoder."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from nino.graphs.architectures.attention import attention
from nino.graphs.architectures.heads import body_of, linear_heads
from nino.graphs.builder import MAX_FEATURES, GraphBuilder
from nino.graphs.core import EdgeType
from nino.graphs.neurons import Neurons


def declare_torchvision_vit(b: GraphBuilder, model: Any) -> None:
    """Declare torchvision's ``VisionTransformer``.

    Args:
        b: the builder.
        model: the model.
    """
    x = _embed(b, "class_token", "conv_proj", "encoder.pos_embedding")
    for i in range(len(model.encoder.layers)):
        name = f"encoder.layers.encoder_layer_{i}"
        query, key, value = b.weight(f"{name}.self_attention.in_proj_weight").chunk(3)
        biases = b.weight(f"{name}.self_attention.in_proj_bias").chunk(3)
        parts = [f"{name}.{part}" for part in ("ln_1", "self_attention.out_proj", "ln_2", "mlp.0", "mlp.3")]
        heads = model.encoder.layers[i].num_heads
        x = _layer(b, x, i, heads, (query, key, value), biases, parts)
    b.norm(x, "encoder.ln")
    for name, module in model.heads.named_children():
        if isinstance(module, nn.Linear):
            target = b.group(f"heads.{name}", module.out_features)
            b.linear(x, target, f"heads.{name}")
            x = target
    b.fix(x)


def declare_vit(b: GraphBuilder, model: Any) -> None:
    """Declare a ``ViTModel`` of transformers or a model around one.

    Args:
        b: the builder.
        model: the model.
    """
    body, prefix = body_of(model)
    embeddings = f"{prefix}embeddings"
    x = _embed(
        b, f"{embeddings}.cls_token", f"{embeddings}.patch_embeddings.projection", f"{embeddings}.position_embeddings"
    )
    for i in range(body.config.num_hidden_layers):
        name = f"{prefix}layers.{i}"
        projections = [f"{name}.attention.{p}_proj" for p in "qkv"]
        weights = [b.weight(f"{p}.weight") for p in projections]
        biases = [b.weight(f"{p}.bias") for p in projections] if f"{projections[0]}.bias" in b else None
        tail = ("layernorm_before", "attention.o_proj", "layernorm_after", "mlp.fc1", "mlp.fc2")
        parts = [f"{name}.{part}" for part in tail]
        x = _layer(b, x, i, body.config.num_attention_heads, weights, biases, parts)
    b.norm(x, f"{prefix}layernorm")
    if f"{prefix}pooler.dense.weight" in b:
        pooled = b.group("pooler", b.weight(f"{prefix}pooler.dense.weight").shape[0])
        b.linear(x, pooled, f"{prefix}pooler.dense")
        if model is body:
            b.fix(x)
        x = pooled
    linear_heads(b, model, body, x)


def _embed(b: GraphBuilder, token: str, patch: str, positions: str) -> Neurons:
    """Class token, patches and positions; patches of more than 9 pixels are a linear map of h*w*channels inputs."""
    weight = b.weight(f"{patch}.weight")  # (d, channels, h, w)
    d, channels = weight.shape[:2]
    token_node = b.group("class token", 1, fixed=True, words=True)
    if prod(weight.shape[2:]) > MAX_FEATURES:
        weight = weight.flatten(1)
    inputs = b.group("input", weight.shape[1], fixed=True)
    x = b.group("x.0", d)
    b.embedding(token_node, x, b.weight(token).view(1, d), EdgeType.WORD_EMBEDDING)
    b.dense(inputs, x, weight)
    if f"{patch}.bias" in b:
        b.bias(x, f"{patch}.bias")
    table = b.weight(positions).squeeze(0)  # (positions, d)
    places = b.group("positions", table.shape[0], fixed=True, before=x)
    b.embedding(places, x, table, EdgeType.POSITION_EMBEDDING, scrambled=True)
    return x


def _layer(
    b: GraphBuilder,
    x: Neurons,
    i: int,
    heads: int,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor] | None,
    parts: Sequence[str],
) -> Neurons:
    """One block: x -> y (attention) -> z (MLP); ``parts`` are norm, output projection, norm, and two linear layers."""
    norm1, project, norm2, expand, contract = parts
    b.norm(x, norm1)
    out = attention(b, f"attention.{i}", x, heads, heads, weights, biases)
    y = b.group(f"y.{i}", x.size)
    b.residual(x, y)
    b.linear(out, y, project)
    b.norm(y, norm2)
    f = b.group(f"f.{i}", b.weight(f"{expand}.weight").shape[0])
    b.linear(y, f, expand)
    z = b.group(f"x.{i + 1}", x.size)
    b.residual(y, z)
    b.linear(f, z, contract)
    return z
