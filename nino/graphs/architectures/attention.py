"""Multi-head attention as blocks, in all topologies."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nino.graphs.builder import GraphBuilder
from nino.graphs.core import EdgeType
from nino.graphs.neurons import Neurons
from nino.graphs.weights import stacked


def attention(
    b: GraphBuilder,
    name: str,
    x: Neurons,
    heads: int,
    kv_heads: int,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor] | None = None,
    *,
    norms: tuple[str, str] | None = None,
) -> Neurons:
    """Declare queries, keys and values of one attention layer.

    ``released``: queries and values stand in one stack of nodes; key edges point from the first query nodes back to
    ``x``, the key bias hangs on ``x`` (where it fits, else on the keys), head h is joined to query head h and value
    head h, and the output projection reads the last ``heads * d_head`` nodes of the stack (with grouped queries most of
    them are queries).

    ``exact`` (without grouped queries): queries and values are groups of their own, the key bias hangs on the keys.

    ``naive`` (the paper's ablation): neuron i of queries, keys and values is one node, joined to each of ``x`` by one
    edge that holds all three weights; heads are not seen. For attention whose weights are one parameter.

    Args:
        b: the builder.
        name: prefix of the groups' names.
        x: the neurons that are read.
        heads: query heads.
        kv_heads: key and value heads; divides ``heads``.
        weights: query (heads * d_head, d), key and value (kv_heads * d_head, d).
        biases: the same for biases, if any.
        norms: names of the query and the key norm's scale (d_head,), used where the model has them.

    Returns:
        The neurons that the output projection reads, heads * d_head of them.

    Raises:
        ValueError: for ``naive`` where queries, keys and values are not equal parts of one parameter.
    """
    if b.naive:
        return _naive(b, name, x, weights, biases)
    if norms is not None and norms[0] not in b:
        norms = None
    q, k, v, out = _exact(b, name, x, heads, weights) if b.exact else _released(b, name, x, heads, kv_heads, weights)
    if biases is not None:
        on_stream = not b.exact and biases[1].numel() == x.size
        for target, bias in zip((q, x if on_stream else k, v), biases, strict=True):
            b.bias(target, bias)
    if norms is not None:
        _released_norms(b, x, q, norms)
    return out


def _naive(
    b: GraphBuilder, name: str, x: Neurons, weights: Sequence[Tensor], biases: Sequence[Tensor] | None
) -> Neurons:
    """One node for neuron i of queries, keys and values."""
    for kind, parts in (("weights", weights), ("biases", biases or ())):
        if len(names := {b.parameter_of(part): None for part in parts}) > 1:
            raise ValueError(
                f"topology 'naive' needs the {kind} of {name!r} in one parameter, but they are {', '.join(names)}: "
                f"use 'released' or 'exact'"
            )
    merged = b.group(f"{name}.qkv", weights[0].shape[0])
    b.dense(x, merged, stacked(weights), EdgeType.LINEAR)
    if biases is not None:
        node = b.group(b.unused(b.parameter_of(biases[0])), 1, before=merged)
        b.dense(node, merged, stacked(biases).unsqueeze(1), EdgeType.BIAS)
    return merged


def _released(
    b: GraphBuilder, name: str, x: Neurons, heads: int, kv_heads: int, weights: Sequence[Tensor]
) -> tuple[Neurons, Neurons, Neurons, Neurons]:
    """Queries, the queries that stand for keys, values, and what the output projection reads."""
    query, key, value = weights
    stack = b.group(f"{name}.qv", query.shape[0] + value.shape[0])
    q, v = stack[: query.shape[0]], stack[query.shape[0] :]
    k = q[: key.shape[0]]
    head = b.group(f"{name}.heads", heads, before=stack)
    b.dense(x, q, query, EdgeType.QUERY)
    b.heads(head, q)
    b.dense(k, x, key.T, EdgeType.KEY)
    b.dense(x, v, value, EdgeType.VALUE)
    b.heads(head[:kv_heads], v)
    return q, k, v, stack[-query.shape[0] :]


def _released_norms(b: GraphBuilder, x: Neurons, q: Neurons, norms: tuple[str, str]) -> None:
    """Norms of queries and keys join the first d_head query (residual) neurons to the next d_head ones."""
    for neurons, norm in zip((q, x), norms, strict=True):
        d_head = b.weight(norm).shape[0]
        b.diagonal(neurons[:d_head], neurons[d_head : 2 * d_head], norm, EdgeType.NORM)


def _exact(
    b: GraphBuilder, name: str, x: Neurons, heads: int, weights: Sequence[Tensor]
) -> tuple[Neurons, Neurons, Neurons, Neurons]:
    """Queries, which keys share, values, and what the output projection reads."""
    query, key, value = weights
    head, q = b.group(f"{name}.heads", heads), b.group(f"{name}.q", query.shape[0])
    v = b.group(f"{name}.v", value.shape[0])
    b.dense(x, q, query, EdgeType.QUERY)
    b.dense(q, x, key.T, EdgeType.KEY)
    b.dense(x, v, value, EdgeType.VALUE)
    b.heads(head, q, v)
    return q, q, v, v
