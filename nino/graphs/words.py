"""Rows of the word embedding: a graph of some of a language model's words."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nino.graphs.core import Block, Nodes, Parameter, WeightView
from nino.graphs.windows import scrambled_rows, view_of

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
    touched = {
        b.name for b in graph.blocks if b.weight is not None and (_within(b.source, words) or _within(b.target, words))
    }
    parameters, kept = _keep_rows(graph.parameters, touched, words.size, rows)
    moved = {old.name: (old, new) for old, new in zip(graph.parameters, parameters, strict=True)}
    less = words.size - rows.numel()

    def renumber(nodes: Nodes) -> Nodes:
        if nodes == words:
            return Nodes(nodes.start, rows.numel())
        if nodes.start >= words.stop:
            return Nodes(nodes.start - less, nodes.size)
        if _within(nodes, words):
            raise ValueError("a block joins a part of the word embedding only: its rows cannot be sampled")
        return nodes

    def shift(block: Block) -> Block:
        weight = block.weight
        if weight is not None:
            old, new = moved[block.name]
            weight = WeightView(weight.offset - old.offset + new.offset, weight.strides)
        return replace(block, source=renumber(block.source), target=renumber(block.target), weight=weight)

    blocks: list[Block] = []
    for name, group in groupby(graph.blocks, key=lambda block: block.name):
        parts = list(group)
        if name in touched and words not in (parts[0].source, parts[0].target):
            first = replace(parts[0], target=renumber(parts[0].target))
            blocks.extend(_scrambled(first, renumber(words), moved[name][1]))
        else:
            blocks.extend(map(shift, parts))
    ids = rows if graph.word_ids is None else graph.word_ids[rows]
    changes = {
        "groups": {name: renumber(nodes) for name, nodes in graph.groups.items()},
        "blocks": tuple(blocks),
        "parameters": parameters,
        "num_nodes": graph.num_nodes - less,
        "word_nodes": renumber(words),
        "word_ids": ids,
    }
    return changes, kept


def _within(part: Nodes, whole: Nodes) -> bool:
    return whole.start <= part.start and part.stop <= whole.stop


def _scrambled(first: Block, words: Nodes, parameter: Parameter) -> list[Block]:
    """A smaller table laid down as the released graphs do (see ``GraphBuilder.embedding``)."""
    rows, d = parameter.shape
    table = torch.empty(parameter.slice.stop, device="meta")[parameter.slice].view(rows, d)
    start = first.target.start  # the first block of a table begins at its first target
    return [
        replace(
            first,
            source=words[source],
            target=Nodes(start, d)[target],
            weight=view_of(window.unsqueeze(-1)),
        )
        for source, target, window in scrambled_rows(table)
    ]


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
