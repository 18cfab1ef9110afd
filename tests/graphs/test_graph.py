"""Round trips, samples of words, signatures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nino.graphs import NeuralGraph, Nodes, neural_graph, window

Golden = tuple[str, dict[str, np.ndarray], nn.Module]


def test_states_come_back_from_the_edges_to_the_bit(golden: Golden) -> None:
    _, _, model = golden
    for topology in ("released", "exact"):
        graph = neural_graph(model, topology)
        states = torch.randn(graph.num_parameters, 5)
        kept = states.clone()
        features = graph.edge_features(states)
        assert torch.equal(graph.parameters_from_edges(features.view(graph.num_edges, graph.features, 5)), states)
        data = graph.to_pyg(states)
        assert torch.equal(
            data.edge_attr.view(graph.num_edges, graph.features, 5)[data.param_edge, data.param_position], states
        )
        assert torch.equal(data.edge_index[:, data.param_edge].T, graph.endpoints())
        assert torch.equal(data.edge_index[0, -graph.num_nodes :], torch.arange(graph.num_nodes))
        assert torch.equal(states, kept)


def test_blocks_hold_every_parameter_once(golden: Golden) -> None:
    _, _, model = golden
    for topology in ("released", "exact"):
        graph = neural_graph(model, topology)
        places = torch.arange(graph.num_parameters)
        held = torch.cat([window(places, b).reshape(-1) for b in graph.blocks if b.weight is not None])
        assert torch.equal(held.sort().values, places)
        for block in graph.blocks:
            for nodes in (block.source, block.target):
                assert 0 <= nodes.start < nodes.stop <= graph.num_nodes
        covered = sorted((nodes.start, nodes.stop) for nodes in graph.groups.values())
        assert [start for start, _ in covered] == [0] + [stop for _, stop in covered[:-1]]


WORDY: dict[str, Callable[[dict[str, Callable[..., nn.Module]], int], nn.Module]] = {
    "gpt2": lambda make, words: make["gpt2"](6, 1, 2, words, 5),
    "llama": lambda make, words: make["llama"](12, 1, 6, 2, 10, words),
    "bert": lambda make, words: make["bert"](vocab_size=words),
}


@pytest.mark.parametrize("topology", ["released", "exact"])
@pytest.mark.parametrize("kind", WORDY)
def test_graph_of_some_words_is_that_of_a_smaller_vocabulary(
    kind: str, topology: str, models: dict[str, Callable[..., nn.Module]]
) -> None:
    whole = neural_graph(WORDY[kind](models, 53), topology)
    rows = torch.arange(1, 53, 3)
    graph, kept = whole.sample_words(rows)
    small = neural_graph(WORDY[kind](models, len(rows)), topology)
    outputs = {p.name for p in small.parameters if p.name == "lm_head.weight"}  # an untied head keeps all words
    if not outputs:
        assert graph.parameters == small.parameters
        assert torch.equal(graph.endpoints(), small.endpoints())
        assert torch.equal(graph.edge_types(), small.edge_types())
        assert torch.equal(graph.lpe(), small.lpe())
    assert len(kept) == graph.num_parameters
    assert torch.equal(graph.word_index()[graph.word_nodes.slice], rows + 1)
    name = next(p for p in whole.parameters if "emb" in p.name or "wte" in p.name)
    table = torch.arange(whole.num_parameters)[name.slice].view(name.shape)
    assert torch.equal(kept[: table[rows].numel()], table[rows].reshape(-1))
    again, _ = graph.sample_words(torch.tensor([0, 2]))
    assert again.word_ids.tolist() == rows[[0, 2]].tolist()


def test_rows_that_cannot_be_sampled(models: dict[str, Callable[..., nn.Module]]) -> None:
    graph = neural_graph(models["gpt2"](6, 1, 2, 23, 5))
    for rows in ([], [3, 3], [5, 2], [-1, 2], [22, 23]):
        with pytest.raises(ValueError, match=r"`rows` must ascend within 0\.\.22"):
            graph.sample_words(torch.tensor(rows, dtype=torch.long))
    with pytest.raises(ValueError, match="no word embedding"):
        neural_graph(nn.Linear(2, 2)).sample_words(torch.tensor([0]))


def test_signature_tells_models_and_topologies_apart() -> None:
    a, b = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)), nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2))
    signatures = {neural_graph(m, t).signature() for m in (a, b) for t in ("released", "exact")}
    assert len(signatures) == 4
    assert neural_graph(a).signature() == neural_graph(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))).signature()


def test_states_and_values_of_another_model_are_refused() -> None:
    graph = neural_graph(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"`states` has shape \(7, 5\), but the graph has 8 parameters"):
        graph.edge_features(torch.zeros(7, 5))
    with pytest.raises(ValueError, match=r"`values` of shape \(3, 1\)"):
        graph.parameters_from_edges(torch.zeros(3, 1))
    auxiliary = next(
        b
        for b in neural_graph(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 1))).blocks
        if b.weight is None
    )
    with pytest.raises(ValueError, match="auxiliary"):
        window(torch.zeros(8), auxiliary)


def test_large_models_on_the_meta_device_are_cheap(models: dict[str, Callable[..., nn.Module]]) -> None:
    with torch.device("meta"):
        model = models["llama"](2048, 16, 32, 8, 8192, 128256, tied=True)
    graph = neural_graph(model)
    assert graph.num_parameters == 1_235_814_400
    assert isinstance(graph.groups["words"], Nodes)
    assert isinstance(neural_graph(model, "exact"), NeuralGraph)


def test_views_follow_strides_and_offsets() -> None:
    model = nn.Linear(3, 2)
    graph = neural_graph(model)
    states: Tensor = torch.arange(16.0).view(8, 2)
    assert window(states, graph.blocks[0])[2, 1, 0].tolist() == states.view(8, 2)[5].tolist()  # weight[1, 2]
