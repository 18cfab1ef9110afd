"""Multi-head attention as blocks, in both topologies."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nino.graphs.builder import GraphBuilder, Neurons
from nino.graphs.core import EdgeType


def attention(
    b: GraphBuilder,
    name: str,
    x: Neurons,
    heads: int,
    kv_heads: int,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor] | None = None,
    *,
    rotary: bool = False,
) -> Neurons:
    """Declare queries, keys and values of one attention layer.

    ``released``: queries and values stand in one stack of nodes; key edges point from the first query nodes back to
    ``x``, the key bias hangs on ``x``, head h is joined to query head h and value head h, and the output projection
    reads the last ``heads * d_head`` nodes of the stack (with grouped queries most of them are queries).

    ``exact``: the key bias hangs on the keys. With grouped queries the keys are neurons of their own, each joined to
    the query neurons that it meets, and so are the neurons that the output projection reads, each joined to the value
    neuron that feeds it. With rotary embeddings position j of every head is joined to frequency node j.

    Args:
        b: the builder.
        name: prefix of the groups' names.
        x: the neurons that are read.
        heads: query heads.
        kv_heads: key and value heads; divides ``heads``.
        weights: query (heads * d_head, d), key and value (kv_heads * d_head, d).
        biases: the same for biases, if any.
        rotary: whether queries and keys are rotated by position.

    Returns:
        The neurons that the output projection reads, heads * d_head of them.
    """
    if b.exact:
        return _exact(b, name, x, heads, kv_heads, weights, biases, rotary)
    return _released(b, name, x, heads, kv_heads, weights, biases)


def _released(
    b: GraphBuilder,
    name: str,
    x: Neurons,
    heads: int,
    kv_heads: int,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor] | None,
) -> Neurons:
    query, key, value = weights
    stack = b.group(f"{name}.qv", query.shape[0] + value.shape[0])
    q, v = stack[: query.shape[0]], stack[query.shape[0] :]
    head = b.group(f"{name}.heads", heads, before=stack)
    b.dense(x, q, query, EdgeType.QUERY)
    b.heads(head, q)
    b.dense(q[: key.shape[0]], x, key.T, EdgeType.KEY)
    b.dense(x, v, value, EdgeType.VALUE)
    b.heads(head[:kv_heads], v)
    if biases is not None:
        for target, bias in zip((q, x, v), biases, strict=True):
            b.bias(target, bias)
    return stack[-query.shape[0] :]


def _exact(
    b: GraphBuilder,
    name: str,
    x: Neurons,
    heads: int,
    kv_heads: int,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor] | None,
    rotary: bool,
) -> Neurons:
    query, key, value = weights
    head = b.group(f"{name}.heads", heads)
    q = b.group(f"{name}.q", query.shape[0])
    k = q if heads == kv_heads else b.group(f"{name}.k", key.shape[0])
    v = b.group(f"{name}.v", value.shape[0])
    out = v if heads == kv_heads else b.group(f"{name}.out", query.shape[0])
    b.dense(x, q, query, EdgeType.QUERY)
    b.dense(k, x, key.T, EdgeType.KEY)
    b.dense(x, v, value, EdgeType.VALUE)
    b.heads(head, q, out)
    if heads != kv_heads:
        for queries, outputs, keys, values in zip(*(n.split(kv_heads) for n in (q, out, k, v)), strict=True):
            for a, o in zip(queries.split(heads // kv_heads), outputs.split(heads // kv_heads), strict=True):
                b.residual(a, keys)
                b.residual(values, o)
    if rotary:
        rotations = b.group(f"{name}.rotary", query.shape[0] // heads, fixed=True)
        for part in q.split(heads):
            b.residual(rotations, part, EdgeType.HEAD)
    if biases is not None:
        for target, bias in zip((q, k, v), biases, strict=True):
            b.bias(target, bias)
    return out


def linear_heads(b: GraphBuilder, model: nn.Module, body: nn.Module, x: Neurons) -> None:
    """Declare the linear layers outside ``body`` that read ``x``: untied language heads, classifiers.

    Args:
        b: the builder.
        model: the model.
        body: the part of it that is declared already (may be the model itself).
        x: the last residual neurons.
    """
    inside = set(body.modules())
    for name, module in model.named_modules():
        if module not in inside and isinstance(module, nn.Linear) and f"{name}.weight" in b:
            if module.in_features == x.size:
                b.linear(x, b.group(name, module.out_features, fixed=True), name)
