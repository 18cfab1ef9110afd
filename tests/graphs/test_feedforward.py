"""Networks read off a trace or the module tree."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nino.graphs import EdgeType, NeuralGraph, neural_graph


def _round_trip(model: nn.Module, topology: str = "released", example: Tensor | None = None) -> NeuralGraph:
    """The graph, after putting the parameters on the edges and taking them off again."""
    graph = neural_graph(model, topology, example=example)
    states = torch.randn(graph.num_parameters, 3)
    features = graph.edge_features(states).view(graph.num_edges, graph.features, 3)
    torch.testing.assert_close(graph.parameters_from_edges(features), states, rtol=0, atol=0)
    assert int(graph.endpoints().min()) >= 0
    return graph


def _end(graph: NeuralGraph, name: str, side: int) -> set[int]:
    """Sources (side 0) or targets (1) of a parameter."""
    parameter = next(p for p in graph.parameters if p.name == name)
    return set(graph.endpoints()[parameter.slice, side].tolist())


@pytest.mark.parametrize(
    ("layer", "features"),
    [
        (nn.Conv1d(4, 6, 3), 3),
        (nn.Conv2d(4, 6, (2, 3)), 6),
        (nn.Conv2d(4, 6, 3, groups=2), 9),
        (nn.Conv2d(4, 8, 3, groups=4), 9),
        (nn.Conv2d(4, 4, 3, groups=4), 9),
        (nn.Conv2d(4, 6, 5), 9),
        (nn.Conv2d(4, 4, 7, groups=4), 9),
        (nn.Conv3d(4, 6, 3), 9),
        (nn.ConvTranspose2d(4, 6, 3), 9),
        (nn.ConvTranspose2d(4, 6, 2, groups=2), 4),
    ],
    ids=str,
)
def test_every_weight_of_a_convolution_joins_its_channels(layer: nn.Module, features: int) -> None:
    graph = _round_trip(layer)
    assert graph.features == features
    (inputs,) = (nodes for name, nodes in graph.groups.items() if name == "input")
    outputs = graph.groups["output"]
    # A weight's neurons, found with gradients: which input channel moves which output channel through it.
    shape = (1, 4) + (7,) * (layer.weight.ndim - 2)
    ends = graph.endpoints()[: layer.weight.numel()].view(*layer.weight.shape, 2)
    for index in [(0,) * layer.weight.ndim, tuple(size - 1 for size in layer.weight.shape)]:
        only = torch.zeros_like(layer.weight)
        only[index] = 1.0
        x = torch.ones(shape, requires_grad=True)
        y = torch.func.functional_call(layer, {"weight": only, "bias": torch.zeros_like(layer.bias)}, (x,))
        channel = int(y.sum(dim=(0, *range(2, y.ndim))).nonzero())
        y.sum().backward()
        source = int(x.grad.sum(dim=(0, *range(2, x.ndim))).nonzero())
        assert ends[index].tolist() == [inputs.start + source, outputs.start + channel]


def test_residual_sum_stands_on_the_last_layer() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x + self.conv(F.relu(x))
            return self.head(x.mean(dim=(2, 3)))

    graph = _round_trip(Block())
    residual = [b for b in graph.blocks if b.edge_type is EdgeType.RESIDUAL]
    assert [(b.source, b.target, b.kind) for b in residual] == [
        (graph.groups["stem"], graph.groups["conv"], "diagonal")
    ]
    assert _end(graph, "head.weight", 0) == set(range(graph.groups["conv"].start, graph.groups["conv"].stop))
    assert graph.fixed == {"x", "head"}


def test_concatenated_channels_keep_their_columns() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.norm, self.c = nn.Linear(2, 3), nn.Linear(2, 4), nn.LayerNorm(7), nn.Linear(7, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.norm(torch.cat([self.a(x), self.b(x)], dim=-1)))

    graph = _round_trip(Dense())
    a, b = graph.groups["a"], graph.groups["b"]
    columns = graph.endpoints()[next(p for p in graph.parameters if p.name == "c.weight").slice, 0].view(2, 7)
    assert columns[0].tolist() == [*range(a.start, a.stop), *range(b.start, b.stop)]
    assert len(_end(graph, "norm.weight", 0)) == 1


@pytest.mark.parametrize("topology", ["released", "exact"])
def test_flattened_positions_are_fed_by_their_channel(topology: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 5))
    graph = _round_trip(model, topology, torch.randn(2, 1, 6, 6))
    channels, features = graph.groups["0"], graph.groups["features" if topology == "exact" else "0.flat"]
    fed = [(b.source.start, b.target.start) for b in graph.blocks if b.edge_type is EdgeType.RESIDUAL]
    assert fed == [(channels.start + c, features.start + 16 * c) for c in range(3)]
    columns = graph.endpoints()[next(p for p in graph.parameters if p.name == "3.weight").slice, 0].view(5, 48)
    assert columns[0].tolist() == list(range(features.start, features.stop))
    assert ("positions" in graph.fixed) == (topology == "exact")


def test_shared_layers_are_placed_once_and_tie_what_they_read() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again = nn.Linear(3, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.again(torch.tanh(self.again(torch.tanh(self.first(x)))))

    graph = _round_trip(Recurrent())
    assert graph.num_parameters == 16 + 20
    tie = next(b for b in graph.blocks if b.edge_type is EdgeType.RESIDUAL)
    assert (tie.source, tie.target) == (graph.groups["again"], graph.groups["first"])


def test_tied_embedding_and_head_share_their_rows() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.mix, self.head = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9, bias=True)
            self.head.weight = self.words.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.relu(self.mix(self.words(x))))

    graph = _round_trip(Words())
    assert graph.word_nodes == graph.groups["words.rows"]
    assert _end(graph, "head.bias", 1) == set(range(graph.word_nodes.start, graph.word_nodes.stop))


class Odd(nn.Module):
    """Numbers and tables at the root, gates, norms over positions, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.positions = nn.Parameter(torch.randn(1, 5, 8))
        self.gain = nn.Parameter(torch.randn(8))
        self.embed = nn.Linear(6, 8)
        self.norm = nn.LayerNorm(8)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 4, 12, batch_first=True), 2)
        self.gate = nn.Sequential(nn.Linear(8, 8), nn.Sigmoid())
        self.act = nn.PReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.embed(x)
        x = torch.cat([self.token.expand(x.size(0), -1, -1), x], dim=1) + self.positions
        y = self.norm(x)
        x = x + self.gain * self.attend(y, y, y, need_weights=False)[0]
        x = self.encoder(self.layer(x))[:, 0]
        if mask is not None:
            x = x * mask
        return self.head(self.act(x * self.gate(x)) * self.scale)


@pytest.mark.parametrize("topology", ["released", "exact"])
def test_odd_layers_and_parameters_of_the_forward(topology: str) -> None:
    model = Odd()
    graph = _round_trip(model, topology, torch.randn(2, 4, 6))
    types = graph.edge_types()[graph.parameter_slots()[0]]
    of = {p.name: set(types[p.slice].tolist()) for p in graph.parameters}
    assert of["token"] == {EdgeType.WORD_EMBEDDING}
    assert of["positions"] == {EdgeType.POSITION_EMBEDDING}
    assert of["gain"] == of["scale"] == of["norm.weight"] == {EdgeType.NORM}
    assert of["attend.in_proj_weight"] == {EdgeType.QUERY, EdgeType.KEY, EdgeType.VALUE}
    assert next(p for p in graph.parameters if p.name == "scale").shape == ()


def test_bare_layers_root_parameters_and_memory_formats() -> None:
    assert _round_trip(nn.Linear(3, 2)).endpoints().tolist()[0] == [0, 4]
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    plain = neural_graph(conv)
    assert torch.equal(plain.endpoints(), neural_graph(conv.to(memory_format=torch.channels_last)).endpoints())
    frozen = conv.requires_grad_(False)
    assert torch.equal(plain.endpoints(), neural_graph(frozen).endpoints())


class Branching(nn.Module):
    """Layers are registered in another order than they are used in, and no trace says so."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.hidden = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(x if x.sum() < 1e9 else -x)))


class TwoInputs(Branching):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x + y)


def test_forward_that_cannot_be_traced_is_recorded() -> None:
    for topology in ("released", "exact"):
        graph = neural_graph(Branching(), topology)
        hidden, out = graph.groups["hidden"], graph.groups["out"]
        assert _end(graph, "out.weight", 0) == set(range(hidden.start, hidden.stop))
        assert _end(graph, "out.weight", 1) == set(range(out.start, out.stop))


def test_order_of_registration_only_where_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(
        ValueError, match=r"TwoInputs: its neural graph is recorded .* pass neural_graph\(model, example"
    ):
        neural_graph(TwoInputs())
    with caplog.at_level(logging.WARNING):
        graph = neural_graph(TwoInputs(), unknown="order")
    assert "joined in the order of registration" in caplog.text
    assert _end(graph, "hidden.weight", 0) == set(range(graph.groups["out"].start, graph.groups["out"].stop))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Linear(3, 4), nn.LSTM(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(x))[0])


def test_modules_that_no_trace_knows_are_recorded() -> None:
    graph = neural_graph(Recurrent())
    assert not graph.carried
    _round_trip(Recurrent())


class Quantiles(nn.Module):
    """An operation that no rule knows, between two layers and on a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.bias = nn.Linear(3, 8), nn.Linear(8, 2), nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.linalg.pinv(self.a(x))[..., :8].T.reshape(-1, 8) + torch.linalg.qr(self.bias[None])[0])


def test_what_unknown_operations_stop_is_carried_by_name() -> None:
    model, x = Quantiles(), torch.randn(8, 3)
    graph = neural_graph(model, "exact", example=x)
    assert graph.carried == ("bias",)
    assert graph.reasons == {"bias": "linalg_qr"}
    assert "carried: bias (8,): linalg_qr" in graph.summary()
    states = torch.randn(graph.num_parameters, 2)
    values = graph.edge_features(states).view(graph.num_edges, graph.features, 2)
    assert torch.equal(graph.parameters_from_edges(values, fill=states), states)
    with pytest.raises(ValueError, match="fill"):
        graph.parameters_from_edges(values)
    assert graph.verify(model, x)


def test_channels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the forward does not run on `example` .*cannot be multiplied"):
        neural_graph(nn.Sequential(nn.Linear(3, 5), nn.Linear(7, 2)))


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnext50_32x4d",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "densenet121",
        "vgg11_bn",
        "googlenet",
        "convnext_tiny",
    ],
)
def test_torchvision_networks_are_placed_whole(name: str) -> None:
    from torchvision import models

    options = {"init_weights": False, "aux_logits": True} if name == "googlenet" else {}
    with torch.device("meta"):
        model = getattr(models, name)(**options)
    graph = neural_graph(model, "exact")
    assert graph.num_parameters == sum(p.numel() for p in model.parameters())
    assert not graph.carried
    last = [nodes for group, nodes in graph.groups.items() if group in graph.fixed and nodes.size == 1000]
    assert last
