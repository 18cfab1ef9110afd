"""Networks without scaling, and without positional encoding: what they read, what they do not, and that files know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from nino.graphs import NeuralGraph, neural_graph
from nino.nowcasters import NiNoNet, WNNPlus, build_nowcaster, load_nowcaster, save_nowcaster
from nino.nowcasters.engines.edges import EdgeList
from tests.nowcasters.helpers import MODELS, history, lively, random_graph
from tests.nowcasters.test_training import loss_and_gradients, windows

ENGINES = ("streamed", "edges")


@pytest.fixture(scope="module")
def graph() -> NeuralGraph:
    return neural_graph(MODELS["conv_4_6_6"]())


def affine(graph: NeuralGraph, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """States with another unit and origin a tensor, and both (P,)."""
    sizes = torch.tensor([p.numel for p in graph.parameters])
    unit = torch.tensor([0.5 + i for i in range(len(sizes))]).repeat_interleave(sizes)
    origin = torch.tensor([(-1.0) ** i for i in range(len(sizes))]).repeat_interleave(sizes)
    return unit[:, None] * states + origin[:, None], unit, origin


@pytest.mark.parametrize("make", [NiNoNet, WNNPlus])
def test_scaling_makes_units_and_origins_of_a_tensor_meaningless(
    make: type[NiNoNet | WNNPlus], graph: NeuralGraph
) -> None:
    states = history(graph.num_parameters)
    other, unit, origin = affine(graph, states)
    for scaled in (True, False):
        net = lively(make(hidden=8, scaled=scaled))
        found, wanted = net.predict(graph, other, 5), unit * net.predict(graph, states, 5) + origin
        size = (wanted - other[:, -1]).abs()
        near = (found - wanted).abs() <= 1e-3 * size.max()
        assert bool(near.all()) if scaled else near.float().mean() < 0.9


def test_without_scaling_states_go_in_and_updates_come_out_as_they_are(graph: NeuralGraph) -> None:
    net, states = lively(NiNoNet(hidden=8, scaled=False)), history(graph.num_parameters)
    edges = EdgeList.of(graph)
    with torch.no_grad():
        attributes = graph.edge_features(states)
        update = net(attributes, edges.edge_type, edges.edge_index, graph.lpe(), k=7)[
            edges.param_edge, edges.param_position
        ]
    for engine in ENGINES:
        for unscale in ("released", "exact"):
            found = net.predict(graph, states, 7, engine=engine, unscale=unscale)
            torch.testing.assert_close(found, states[:, -1] + update, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{"scaled": False}, {"lpe": 0}, {"lpe": 0, "scaled": False}])
@pytest.mark.parametrize("seed", range(2))
def test_engines_agree(options: dict[str, int], seed: int) -> None:
    graph, net = random_graph(seed), lively(NiNoNet(hidden=8, **options)).double()
    batch = windows(graph)
    torch.testing.assert_close(
        loss_and_gradients(net, graph, *batch), loss_and_gradients(net, graph, *batch, engine="edges")
    )
    net, states = net.float(), history(graph.num_parameters)
    streamed, edges = (net.predict(graph, states, 20, engine=engine) for engine in ENGINES)
    torch.testing.assert_close(streamed, edges, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["nino", "wnn+"])
def test_the_loss_without_scaling_is_in_the_parameters_own_units(kind: str, graph: NeuralGraph) -> None:
    net = build_nowcaster(kind, hidden=8, scaled=False).double()
    last = net.edge_out.fc[2] if kind == "nino" else net.edge_mlp.fc[6]
    torch.nn.init.zeros_(last.weight)
    states, targets, mask, lpe = windows(graph)
    wanted = (targets - states[..., -1:]).abs()[mask[:, None].expand_as(targets)].mean()
    torch.testing.assert_close(net.training_loss(graph, states, targets, mask, lpe).detach(), wanted)


@pytest.mark.parametrize("make", [NiNoNet, WNNPlus])
def test_another_scaling_than_it_is_fitted_to_is_refused(make: type[NiNoNet | WNNPlus], graph: NeuralGraph) -> None:
    states, batch = history(graph.num_parameters), windows(graph, dtype=torch.float32)
    for scaled, modes in ((True, ["none"]), (False, ["tensor", "network"])):
        net = make(hidden=8, scaled=scaled)
        for mode in modes:
            with pytest.raises(ValueError, match=rf"`scaling` \(='{mode}'\).*allowed is 'tensor' or|allowed is 'none'"):
                net.predict(graph, states, 1, scaling=mode)
            with pytest.raises(ValueError, match="fit another nowcaster"):
                net.training_loss(graph, *batch, scaling=mode)


def test_states_that_are_not_finite_are_refused_without_scaling_too(graph: NeuralGraph) -> None:
    states = history(graph.num_parameters)
    states[-1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinity in parameter 'fc.8.bias'"):
        NiNoNet(hidden=8, scaled=False).predict(graph, states, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_lpe_positions_are_neither_computed_nor_read(
    engine: str, graph: NeuralGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, with_lpe = (lively(NiNoNet(hidden=8, lpe=n)) for n in (0, 8))
    states = history(graph.num_parameters)
    lpe = graph.lpe()
    assert not torch.equal(with_lpe.predict(graph, states, 3, lpe=-lpe), with_lpe.predict(graph, states, 3))
    monkeypatch.setattr(NeuralGraph, "lpe", lambda *_: pytest.fail("computed positions"))
    wanted = net.predict(graph, states, 3, engine=engine)
    for positions in (lpe, -lpe, torch.randn(graph.num_nodes, 8)):
        assert torch.equal(net.predict(graph, states, 3, lpe=positions, engine=engine), wanted)
    states, targets, mask, lpe = windows(graph, dtype=torch.float32)
    losses = [net.training_loss(graph, states, targets, mask, p, engine=engine) for p in (lpe, -lpe)]
    assert torch.equal(*losses)


def test_without_lpe_is_with_positions_of_zero(graph: NeuralGraph) -> None:
    """The layer that is left out would add a constant; its bias begins at zero, and others can take its place."""
    net, plain = lively(NiNoNet(hidden=8)), NiNoNet(hidden=8, lpe=0)
    torch.nn.init.zeros_(net.node_proj.fc[0].bias)
    weights = net.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    assert weights.keys() - plain.state_dict().keys() == {"node_proj.fc.0.weight", "node_proj.fc.0.bias"}
    states = history(graph.num_parameters)
    zero = torch.zeros(graph.num_nodes, 8)
    assert torch.equal(plain.predict(graph, states, 9), net.predict(graph, states, 9, lpe=zero))


@pytest.mark.parametrize("net", [NiNoNet(hidden=4, lpe=0, scaled=False), WNNPlus(hidden=4, scaled=False)])
def test_files_know(net: NiNoNet | WNNPlus, tmp_path: Path, graph: NeuralGraph) -> None:
    lively(net)
    save_nowcaster(net, tmp_path / "net.safetensors")
    again = load_nowcaster(tmp_path / "net.safetensors")
    assert (again.config, again.scaled) == (net.config, False)
    states = history(graph.num_parameters)
    assert torch.equal(again.predict(graph, states, 2), net.predict(graph, states, 2))


def test_files_of_scaled_networks_are_what_they_were(tmp_path: Path) -> None:
    save_nowcaster(NiNoNet(hidden=4), tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        assert "scaled" not in json.loads(file.metadata()["nino"])["config"]
    assert load_nowcaster(tmp_path / "net.safetensors").scaled
