"""Rows of the word embedding: a graph of some of a language model's words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nino.graphs.core import Block, Nodes, Parameter, WeightView

if TYPE_CHECKING:
    from nino.graphs.graph import NeuralGraph


def sample_words(graph: NeuralGraph, rows: Tensor) -> tuple[dict[str, Any], Tensor]:
    """What changes in a graph when only some rows of its word embedding are kept (see ``NeuralGraph.sample_words``)."""
    words = graph.word_nodes
    if words is None:
        raise ValueError("the graph has no word embedding to take rows of")
    rows = rows.to("cpu", torch.long)
    if not rows.numel() or rows[0] < 0 or rows[-1] >= words.size or bool((rows.diff() <= 0).any()):
        raise ValueError(f"`rows` must ascend within 0..{words.size - 1}, without repeats: sort and deduplicate them")
    touched = {b.name for b in graph.blocks if b.weight is not None and words in (b.source, b.target)}
    parameters, kept = _keep_rows(graph.parameters, touched, words.size, rows)
    moved = {old.name: (old.offset, new.offset) for old, new in zip(graph.parameters, parameters, strict=True)}
    less = words.size - rows.numel()

    def renumber(nodes: Nodes) -> Nodes:
        if nodes == words:
            return Nodes(nodes.start, rows.numel())
        if nodes.start >= words.stop:
            return Nodes(nodes.start - less, nodes.size)
        if nodes.stop <= words.start:
            return nodes
        raise ValueError("a block joins a part of the word embedding only: its rows cannot be sampled")

    def shift(block: Block) -> Block:
        weight = block.weight
        if weight is not None:
            old, new = moved[block.name]
            weight = WeightView(weight.offset - old + new, weight.strides)
        return replace(block, source=renumber(block.source), target=renumber(block.target), weight=weight)

    ids = rows if graph.word_ids is None else graph.word_ids[rows]
    changes = {
        "groups": {name: renumber(nodes) for name, nodes in graph.groups.items()},
        "blocks": tuple(map(shift, graph.blocks)),
        "parameters": parameters,
        "num_nodes": graph.num_nodes - less,
        "word_nodes": renumber(words),
        "word_ids": ids,
    }
    return changes, kept


def _keep_rows(
    parameters: tuple[Parameter, ...], touched: set[str], words: int, rows: Tensor
) -> tuple[tuple[Parameter, ...], Tensor]:
    """Parameters with the rows of those in ``touched`` sampled, and the flat elements that are left."""
    smaller, kept, offset = [], [], 0
    for p in parameters:
        elements = torch.arange(p.offset, p.offset + p.numel)
        shape = p.shape
        if p.name in touched:
            row_dim = shape.index(words)  # leading dimensions of 1 may stand before it, as in (1, words, d)
            elements = elements.view(words, -1)[rows].reshape(-1)
            shape = (*shape[:row_dim], rows.numel(), *shape[row_dim + 1 :])
        smaller.append(Parameter(p.name, offset, shape))
        kept.append(elements)
        offset += elements.numel()
    return tuple(smaller), torch.cat(kept)
