"""The naive topology: what it merges, and that both engines run on it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nino.graphs import EdgeType, neural_graph
from nino.nowcasters import build_nowcaster
from tests.graphs import conftest as small


def test_queries_keys_and_values_share_nodes_and_edges():
    model = small.gpt2(12, 1, 4, 17, 5)
    naive, released = neural_graph(model, "naive"), neural_graph(model, "released")
    assert naive.num_parameters == released.num_parameters
    # 2 d query and value neurons and 4 heads become d neurons; three biases' nodes become one
    assert released.num_nodes - naive.num_nodes == 12 + 4 + 2
    merged = [b for b in naive.blocks if b.features == 3]
    assert [(b.edge_type, b.num_weights) for b in merged] == [(EdgeType.LINEAR, 3 * 12 * 12), (EdgeType.BIAS, 3 * 12)]
    assert not any(b.edge_type is EdgeType.HEAD for b in naive.blocks)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x)[0]


@pytest.mark.parametrize("position", range(3))
def test_an_edge_holds_the_three_weights_of_its_neurons(position):
    model = Layer()
    graph = neural_graph(model, "naive")
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    edges, places = graph.parameter_slots()
    weight = torch.arange(3 * 6 * 6).view(3, 6, 6)  # flat numbers of in_proj_weight: (q k v, to, from)
    assert (places[weight[position].flatten()] == position).all()
    assert torch.equal(edges[weight[position].flatten()], edges[weight[0].flatten()])
    features = graph.edge_features(flat.unsqueeze(1))
    torch.testing.assert_close(features[edges[weight[position]], position], flat[weight[position]])
    assert torch.equal(graph.parameters_from_edges(features), flat)


def test_both_engines_agree_on_it():
    torch.manual_seed(0)
    graph = neural_graph(small.gpt2(12, 1, 4, 17, 5), "naive")
    net = build_nowcaster("nino", hidden=8)
    states = torch.randn(graph.num_parameters, 5).cumsum(1)
    torch.testing.assert_close(
        net.predict(graph, states, 7), net.predict(graph, states, 7, engine="edges"), atol=1e-5, rtol=1e-5
    )
    windows = states.unsqueeze(0), torch.randn(1, graph.num_parameters, 3), torch.ones(1, 3, dtype=torch.bool)
    losses = [net.training_loss(graph, *windows, graph.lpe().unsqueeze(0), engine=e) for e in ("streamed", "edges")]
    torch.testing.assert_close(*losses)


def test_a_network_without_attention_is_the_released_graph():
    model = small.convnet(3, 5, 6, 4)
    assert neural_graph(model, "naive").blocks == neural_graph(model, "released").blocks


def test_attention_in_several_parameters_is_refused():
    with pytest.raises(ValueError, match=r"'naive' needs the weights of .* in one parameter, .*q_proj.*use 'released'"):
        neural_graph(small.llama(24, 1, 6, 6, 10, 17), "naive")
