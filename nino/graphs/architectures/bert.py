"""BERT (transformers) as released: post-norm, learned positions and token types, a transform before the tied head.

Its exact graph is recorded.
"""

from __future__ import annotations

from typing import Any

from nino.graphs.architectures.attention import attention
from nino.graphs.architectures.heads import body_of, linear_heads
from nino.graphs.builder import GraphBuilder
from nino.graphs.core import EdgeType
from nino.graphs.neurons import Neurons


def declare_bert(b: GraphBuilder, model: Any) -> None:
    """Declare a BERT body and its heads.

    Args:
        b: the builder.
        model: a ``BertModel`` or a model around one.
    """
    body, prefix = body_of(model)
    config = body.config
    words = b.group("words", config.vocab_size, fixed=True, words=True)
    embedded = b.group("x.0", config.hidden_size)
    positions = b.group("positions", config.max_position_embeddings, fixed=True, before=embedded)
    types = b.group("token types", config.type_vocab_size, fixed=True, before=embedded)
    embeddings = f"{prefix}embeddings"
    for table, rows, edge_type in (
        ("word", words, EdgeType.WORD_EMBEDDING),
        ("position", positions, EdgeType.POSITION_EMBEDDING),
        ("token_type", types, EdgeType.BIAS),
    ):
        b.embedding(rows, embedded, f"{embeddings}.{table}_embeddings.weight", edge_type, scrambled=True)
    b.norm(embedded, f"{embeddings}.LayerNorm")
    x = embedded
    for i in range(config.num_hidden_layers):
        x = _layer(b, x, f"{prefix}encoder.layer.{i}", i, config.num_attention_heads)
    if "cls.predictions.transform.dense.weight" in b:
        _language_head(b, words, embedded, x)
    if f"{prefix}pooler.dense.weight" in b:
        pooled = b.group("pooler", x.size)
        b.linear(x, pooled, f"{prefix}pooler.dense")
        if model is body:
            b.fix(x)
        x = pooled
    linear_heads(b, model, body, x)


def _layer(b: GraphBuilder, x: Neurons, name: str, i: int, heads: int) -> Neurons:
    """One block: x -> y (attention, norm) -> z (MLP, norm)."""
    parts = [f"{name}.attention.self.{p}" for p in ("query", "key", "value")]
    weights, biases = ([b.weight(f"{p}.{kind}") for p in parts] for kind in ("weight", "bias"))
    out = attention(b, f"attention.{i}", x, heads, heads, weights, biases)
    y = b.group(f"y.{i}", x.size)
    b.residual(x, y)
    b.linear(out, y, f"{name}.attention.output.dense")
    b.norm(y, f"{name}.attention.output.LayerNorm")
    f = b.group(f"f.{i}", b.weight(f"{name}.intermediate.dense.weight").shape[0])
    b.linear(y, f, f"{name}.intermediate.dense")
    z = b.group(f"x.{i + 1}", x.size)
    b.residual(y, z)
    b.linear(f, z, f"{name}.output.dense")
    b.norm(z, f"{name}.output.LayerNorm")
    return z


def _language_head(b: GraphBuilder, words: Neurons, embedded: Neurons, x: Neurons) -> None:
    """Transform and decoder of masked language modelling; a tied decoder is the word embedding's block."""
    tied = "cls.predictions.decoder.weight" not in b
    biases = [name for name in ("cls.predictions.bias", "cls.predictions.decoder.bias") if name in b]
    if tied:  # the released graphs take the words for the bias' sources
        for bias in biases:
            b.dense(words, b.group(bias, 1, before=embedded), b.weight(bias).unsqueeze(0), EdgeType.BIAS)
    transform = b.group("transform", x.size)
    b.linear(x, transform, "cls.predictions.transform.dense")
    b.norm(transform, "cls.predictions.transform.LayerNorm")
    if not tied:
        logits = b.group("logits", words.size, fixed=True)
        b.dense(transform, logits, "cls.predictions.decoder.weight")
        for bias in biases:  # where the two are not tied, only the decoder's acts
            b.bias(logits, bias)
