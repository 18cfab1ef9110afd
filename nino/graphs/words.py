"""Rows of the word embedding: what a graph becomes when it keeps only some of a language model's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import torch
from jaxtyping import Int
from torch import Tensor

from nino.graphs.core import Block, Nodes, Parameter, WeightView
from nino.graphs.weights import scrambled_rows, view_of

Smaller = tuple[dict[str, Nodes], tuple[Block, ...], tuple[Parameter, ...], Tensor]


def keep_words(
    groups: dict[str, Nodes],
    blocks: Sequence[Block],
    parameters: Sequence[Parameter],
    words: Nodes,
    rows: Int[Tensor, " rows"],
) -> Smaller:
    """Groups, blocks and parameters of a graph that keeps only some rows of its word embedding.

    Args:
        groups: of the whole graph.
        blocks: of the whole graph.
        parameters: of the whole graph.
        words: the nodes of its word embedding.
        rows: ascending row numbers.

    Returns:
        The smaller graph's groups, blocks and parameters, and the elements of the flat vector that it keeps.

    Raises:
        ValueError: if a block joins a part of the word embedding only.
    """
    touched = {b.name for b in blocks if b.weight is not None and (b.source in words or b.target in words)}
    smaller, elements = _keep_rows(parameters, touched, words.size, rows)
    moved = {old.name: (old, new) for old, new in zip(parameters, smaller, strict=True)}
    less = words.size - rows.numel()

    def renumber(nodes: Nodes) -> Nodes:
        if nodes == words:
            return Nodes(nodes.start, rows.numel())
        if nodes.start >= words.stop:
            return Nodes(nodes.start - less, nodes.size)
        if nodes in words:
            raise ValueError("a block joins a part of the word embedding only: its rows cannot be sampled")
        return nodes

    def shift(block: Block) -> Block:
        weight = block.weight
        if weight is not None:
            old, new = moved[block.name]
            weight = WeightView(weight.offset - old.offset + new.offset, weight.strides)
        return replace(block, source=renumber(block.source), target=renumber(block.target), weight=weight)

    placed: list[Block] = []
    for name, group in groupby(blocks, key=lambda block: block.name):
        parts = list(group)
        if name in touched and words not in (parts[0].source, parts[0].target):
            first = replace(parts[0], target=renumber(parts[0].target))
            placed.extend(_scrambled(first, renumber(words), moved[name][1]))
        else:
            placed.extend(map(shift, parts))
    return {name: renumber(nodes) for name, nodes in groups.items()}, tuple(placed), smaller, elements


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
    parameters: Sequence[Parameter], touched: set[str], words: int, rows: Int[Tensor, " rows"]
) -> tuple[tuple[Parameter, ...], Int[Tensor, " elements"]]:
    """Parameters with the rows of those in ``touched`` sampled, and the flat elements that are left."""
    smaller, remaining, offset = [], [], 0
    for p in parameters:
        elements = torch.arange(p.offset, p.offset + p.numel)
        shape = p.shape
        if p.name in touched:
            row_dim = shape.index(words)  # leading dimensions of 1 may stand before it, as in (1, words, d)
            elements = elements.view(words, -1)[rows].reshape(-1)
            shape = (*shape[:row_dim], rows.numel(), *shape[row_dim + 1 :])
        smaller.append(Parameter(p.name, offset, shape))
        remaining.append(elements)
        offset += elements.numel()
    return tuple(smaller), torch.cat(remaining)
