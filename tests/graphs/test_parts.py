"""Cutting a graph: every weight in one part, in its place; neurons as they were joined."""

from __future__ import annotations

import pytest
import torch

from nino.graphs import NeuralGraph, neural_graph
from nino.graphs.parts import Part, block_of, layer_of, split
from nino.nowcasters.states import PartStates, TensorStates
from tests.nowcasters.helpers import MODELS, random_graph

CUTS = {"block": block_of, "layer": layer_of, "parameter": str, "network": lambda _: ""}


def edges(graph: NeuralGraph) -> torch.Tensor:
    return torch.cat([graph.edge_index(), graph.edge_types()[None]]).T


def whole_edges(part: Part) -> torch.Tensor:
    """A part's edges in the whole graph's numbers, self-loops left out."""
    found = edges(part.graph)[: part.graph.num_edges - part.graph.num_nodes]
    return torch.cat([part.nodes[found[:, :2]], found[:, 2:]], dim=1)


@pytest.mark.parametrize("cut", list(CUTS))
@pytest.mark.parametrize("seed", range(3))
def test_weights_lie_on_the_edges_that_they_lay_on(seed: int, cut: str) -> None:
    graph = random_graph(seed)
    seen = torch.zeros(graph.num_parameters, dtype=torch.long)
    for part in split(graph, CUTS[cut]):
        rows = torch.cat([torch.arange(p.offset, p.offset + p.numel) for p in part.parameters.values()])
        seen[rows] += 1
        assert torch.equal(part.nodes[part.graph.endpoints()], graph.endpoints()[rows])
        types = [g.edge_types()[g.parameter_slots()[0]] for g in (graph, part.graph)]
        assert torch.equal(types[0][rows], types[1])
        states = torch.randn(graph.num_parameters, 3)
        own = PartStates(TensorStates(states), part.parameters)
        taken = torch.cat([own.parts(p)[0] for p in part.graph.parameters])
        assert torch.equal(taken, states[rows]) and own.shape == tuple(taken.shape)
    assert bool((seen == 1).all())


def test_parts_of_a_transformer() -> None:
    graph = neural_graph(MODELS["tiny_gpt2"]())
    parts = split(graph, block_of)
    assert [block_of(part.graph.parameters[0].name) for part in parts] == [
        "transformer.wte",
        "transformer.wpe",
        "transformer.h.0",
        "transformer.h.1",
        "transformer.ln_f",
    ]
    words, _, first, second, _ = parts
    assert words.graph.word_nodes is not None and words.graph.word_nodes.size == 23
    assert torch.equal(words.graph.word_index()[words.graph.word_nodes.slice], torch.arange(23) + 1)
    assert first.graph.word_nodes is None
    # alike to the numbers of their nodes, so that their positions are computed once
    assert [(b.source, b.target) for b in first.graph.blocks] == [(b.source, b.target) for b in second.graph.blocks]
    theirs = {tuple(edge) for edge in edges(graph).tolist()}
    assert all(tuple(edge) in theirs for part in parts for edge in whole_edges(part).tolist())
    heads = [b for b in first.graph.blocks if "head" in b.edge_type.name.lower()]
    assert heads, "attention heads, at which no weights end, go with their layer"


def test_one_part_is_the_whole() -> None:
    for name in ("tiny_gpt2", "tiny_llama", "conv_bn"):
        graph = neural_graph(MODELS[name]())
        (part,) = split(graph, lambda _: "")
        assert torch.equal(part.nodes, torch.arange(graph.num_nodes))
        assert (part.graph.blocks, part.graph.parameters) == (graph.blocks, graph.parameters)
        assert (part.graph.groups, part.graph.fixed) == (graph.groups, graph.fixed)
        assert torch.equal(part.graph.lpe(), graph.lpe())


def test_carried_parameters_are_in_no_part() -> None:
    graph = neural_graph(MODELS["mlp"]())
    blocks = tuple(b for b in graph.blocks if b.name != "fc.2.weight")
    some = NeuralGraph(graph.groups, blocks, graph.parameters, graph.num_nodes, carried=("fc.2.weight",))
    names = [p.name for part in split(some, layer_of) for p in part.graph.parameters]
    assert names == [p.name for p in graph.parameters if p.name != "fc.2.weight"]
