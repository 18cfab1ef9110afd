"""A neural graph cut into parts, each a neural graph of its own over some of the parameters."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Container, Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from nino.graphs.core import Block, Nodes, Parameter
from nino.graphs.graph import NeuralGraph


@dataclass(frozen=True)
class Part:
    """Some of a graph's parameters, the neurons that they join and the auxiliary edges between these.

    Args:
        graph: with nodes and flat parameter vector of its own.
        nodes: each node's number in the whole graph, ascending.
        parameters: by name, where each lies in the whole graph.
    """

    graph: NeuralGraph
    nodes: Int[Tensor, " nodes"]
    parameters: dict[str, Parameter]


def block_of(name: str) -> str:
    """The block of a network that a parameter belongs to: its name up to the first word that ends in a number.

    >>> block_of("transformer.h.0.attn.c_attn.weight"), block_of("transformer.wte.weight"), block_of("0.bias")
    ('transformer.h.0', 'transformer.wte', '0')
    >>> block_of("encoder.layers.encoder_layer_1.ln_1.weight")
    'encoder.layers.encoder_layer_1'
    """
    numbered = re.match(r"(?:[^.]+\.)*?[^.]*\d(?=\.)", name)
    return numbered[0] if numbered else layer_of(name)


def layer_of(name: str) -> str:
    """The layer that a parameter belongs to: its name without the last word.

    >>> layer_of("transformer.h.0.attn.c_attn.weight"), layer_of("weight")
    ('transformer.h.0.attn.c_attn', '')
    """
    return name.rpartition(".")[0]


def split(graph: NeuralGraph, key: Callable[[str], Hashable]) -> list[Part]:
    """Cut a graph into parts, by the names of its parameters.

    Neurons that no weight joins, such as attention heads, belong to every part that auxiliary edges join them to.

    Args:
        graph: the whole.
        key: parameters of the same key go together.

    Returns:
        A part a key, in the order of the parameters. Carried parameters are in none.
    """
    held = {block.name for block in graph.blocks if block.weight is not None}
    together: dict[Hashable, list[Parameter]] = {}
    for parameter in graph.parameters:
        if parameter.name in held:
            together.setdefault(key(parameter.name), []).append(parameter)
    joined = _runs([end for block in graph.blocks if block.weight is not None for end in _ends(block)])
    cuts = [0, *(cut for run in joined for cut in (run.start, run.stop)), graph.num_nodes]
    free = [Nodes(start, stop - start) for start, stop in zip(cuts[::2], cuts[1::2], strict=True)]
    return [_part(graph, parameters, free) for parameters in together.values()]


def _part(graph: NeuralGraph, parameters: list[Parameter], free: Sequence[Nodes]) -> Part:
    """One part; ``free`` are the neurons that no weight joins."""
    originals = {p.name: p for p in parameters}
    blocks, runs = _reached(graph.blocks, originals, free)
    starts = [run.start for run in runs]
    shifts, size = [], 0
    for run in runs:
        shifts.append(size - run.start)
        size += run.size
    placed, offset = {}, 0
    for p in parameters:
        placed[p.name] = replace(p, offset=offset)
        offset += p.numel

    def moved(nodes: Nodes) -> Nodes:
        return Nodes(nodes.start + shifts[bisect_right(starts, nodes.start) - 1], nodes.size)

    def rebuilt(block: Block) -> Block:
        weight = block.weight
        if weight is not None:
            within = weight.offset - originals[block.name].offset
            weight = replace(weight, offset=placed[block.name].offset + within)
        return replace(block, source=moved(block.source), target=moved(block.target), weight=weight)

    groups = {name: moved(nodes) for name, nodes in graph.groups.items() if _holds(runs, nodes)}
    words = graph.word_nodes if graph.word_nodes is not None and _holds(runs, graph.word_nodes) else None
    small = NeuralGraph(
        groups=groups,
        blocks=tuple(map(rebuilt, blocks)),
        parameters=tuple(placed.values()),
        num_nodes=size,
        topology=graph.topology,
        fixed=graph.fixed.intersection(groups),
        word_nodes=None if words is None else moved(words),
        word_ids=None if words is None else graph.word_ids,
    )
    return Part(small, torch.cat([torch.arange(run.start, run.stop) for run in runs]), originals)


def _reached(blocks: Sequence[Block], names: Container[str], free: Sequence[Nodes]) -> tuple[list[Block], list[Nodes]]:
    """Blocks with the named weights, auxiliary ones between their neurons and free ones, and the neurons of all."""
    chosen = {i for i, block in enumerate(blocks) if block.weight is not None and block.name in names}
    runs = _runs([end for i in chosen for end in _ends(blocks[i])])
    allowed = _runs([*runs, *free])
    added = chosen
    while added:
        added = {
            i
            for i, block in enumerate(blocks)
            if i not in chosen
            and block.weight is None
            and all(_holds(allowed, end) for end in _ends(block))
            and any(_overlap(run, end) for run in runs for end in _ends(block))
        }
        chosen = chosen | added
        runs = _runs([*runs, *(end for i in added for end in _ends(blocks[i]))])
    return [blocks[i] for i in sorted(chosen)], runs


def _ends(block: Block) -> tuple[Nodes, Nodes]:
    return block.source, block.target


def _runs(ranges: Sequence[Nodes]) -> list[Nodes]:
    """The same nodes as ranges that ascend and do not touch."""
    runs: list[Nodes] = []
    for nodes in sorted((r for r in ranges if r.size), key=lambda r: r.start):
        if runs and nodes.start <= runs[-1].stop:
            runs[-1] = Nodes(runs[-1].start, max(runs[-1].stop, nodes.stop) - runs[-1].start)
        else:
            runs.append(nodes)
    return runs


def _holds(runs: Sequence[Nodes], nodes: Nodes) -> bool:
    return any(nodes in run for run in runs)


def _overlap(one: Nodes, other: Nodes) -> bool:
    return one.start < other.stop and other.start < one.stop
