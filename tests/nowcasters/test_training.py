"""The streamed loss and its gradients equal the specification's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nino.graphs import NeuralGraph, neural_graph
from nino.nowcasters import NiNoNet, WNNPlus, build_nowcaster
from nino.nowcasters.scaling import window_scales
from tests.nowcasters.helpers import MODELS, lively, random_graph


def windows(graph: NeuralGraph, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    mask = torch.rand(3, 7, generator=generator) < 0.7
    mask[0] = True
    count = graph.num_parameters
    return draw(3, count, 5), draw(3, count, 7), mask, draw(3, graph.num_nodes, 8)


def loss_and_gradients(net: NiNoNet | WNNPlus, *args: object, **options: object) -> tuple[Tensor, dict[str, Tensor]]:
    net.zero_grad()
    loss = net.training_loss(*args, **options)
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("scaling", ["tensor", "network"])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_edge_list(seed: int, scaling: str) -> None:
    graph, net = random_graph(seed), lively(NiNoNet(hidden=8)).double()
    batch = windows(graph)
    wanted, gradients = loss_and_gradients(net, graph, *batch, scaling=scaling, engine="edges")
    for budget in (None, 20_000):
        found, streamed = loss_and_gradients(net, graph, *batch, scaling=scaling, memory_budget=budget)
        torch.testing.assert_close(found, wanted)
        assert streamed.keys() == gradients.keys() and len(gradients) > 30
        torch.testing.assert_close(streamed, gradients)


@pytest.mark.parametrize("kept", [0, 200])
def test_tiles_kept_and_run_again(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, net = random_graph(1), lively(NiNoNet(hidden=8)).double()
    batch = windows(graph)
    wanted = loss_and_gradients(net, graph, *batch)
    monkeypatch.setattr("nino.nowcasters.engines.streamed_loss.KEPT", kept)
    torch.testing.assert_close(loss_and_gradients(net, graph, *batch), wanted)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_any_depth_and_words(layers: int) -> None:
    graph, _ = neural_graph(MODELS["tiny_gpt2"]()).sample_words(torch.tensor([0, 4, 11]))
    net = lively(NiNoNet(hidden=4, layers=layers, word_positions=30)).double()
    batch = windows(graph)
    wanted, gradients = loss_and_gradients(net, graph, *batch, engine="edges")
    found, streamed = loss_and_gradients(net, graph, *batch)
    torch.testing.assert_close((found, streamed), (wanted, gradients))


def test_no_bit_depends_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some tiles keep their graphs, others are run again."""
    monkeypatch.setattr("nino.nowcasters.engines.streamed_loss.ROWS", 40)
    monkeypatch.setattr("nino.nowcasters.engines.streamed_loss.KEPT", 400)
    before = torch.get_num_threads()
    for graph in (random_graph(3), random_graph(1)):
        batch = windows(graph)
        for net in (lively(NiNoNet(hidden=8)).double(), lively(WNNPlus(hidden=8)).double()):
            found = []
            for torch_threads, threads in ((1, 1), (2, 2), (2, 3), (1, 8)):
                torch.set_num_threads(torch_threads)
                found.append(loss_and_gradients(net, graph, *batch, threads=threads))
            torch.set_num_threads(before)
            for loss, gradients in found[1:]:
                assert torch.equal(loss, found[0][0])
                assert all(torch.equal(gradients[name], wanted) for name, wanted in found[0][1].items())


def test_gradients_by_finite_differences() -> None:
    graph, net = random_graph(3), lively(NiNoNet(hidden=4)).double()
    batch = windows(graph)
    _, gradients = loss_and_gradients(net, graph, *batch)
    generator = torch.Generator().manual_seed(1)
    for name in ("edge_proj.fc.0.weight", "gnn.convs.0.edge_encoder.bias", "gnn.edge_update.1.lin_s.weight"):
        weight = net.get_parameter(name)
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        losses = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                weight += step * direction
                losses.append(net.training_loss(graph, *batch))
                weight -= step * direction
        slope = (losses[0] - losses[1]) / 2e-6
        torch.testing.assert_close(slope, (gradients[name] * direction).sum(), rtol=1e-5, atol=1e-9)


def test_masked_targets_do_not_count() -> None:
    graph, net = random_graph(0), lively(NiNoNet(hidden=8)).double()
    states, targets, mask, lpe = windows(graph)
    spoilt = torch.where(mask[:, None], targets, 1e6)
    for engine in ("streamed", "edges"):
        assert torch.equal(
            net.training_loss(graph, states, spoilt, mask, lpe, engine=engine),
            net.training_loss(graph, states, targets, mask, lpe, engine=engine),
        )


def test_loss_scale_reaches_the_gradients() -> None:
    """What a gradient scaler does: the last pass takes its gradients before it knows the factor."""
    graph, net = random_graph(0), lively(NiNoNet(hidden=8)).double()
    batch = windows(graph)
    _, plain = loss_and_gradients(net, graph, *batch)
    net.zero_grad()
    (net.training_loss(graph, *batch) * 1024).backward()
    torch.testing.assert_close(
        {n: p.grad for n, p in net.named_parameters() if n in plain}, {n: g * 1024 for n, g in plain.items()}
    )


def test_mixed_precision_is_close() -> None:
    graph, net = random_graph(0), lively(NiNoNet(hidden=16))
    batch = windows(graph, dtype=torch.float32)
    exact, gradients = loss_and_gradients(net, graph, *batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = net.training_loss(graph, *batch)
    net.zero_grad()
    loss.backward()
    assert loss.dtype == torch.float32 and 0 < abs(loss - exact) < 0.05 * exact
    name = "edge_out.fc.0.weight"
    assert (net.get_parameter(name).grad - gradients[name]).norm() < 0.1 * gradients[name].norm()


def test_validation_needs_no_gradient() -> None:
    graph, net = random_graph(0), lively(NiNoNet(hidden=8)).double()
    batch = windows(graph)
    with torch.no_grad():
        loss = net.training_loss(graph, *batch)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, net.training_loss(graph, *batch).detach())


def test_a_step_lowers_the_loss() -> None:
    graph = random_graph(0)
    for kind in ("nino", "wnn+"):
        net = build_nowcaster(kind, hidden=8)
        batch = windows(graph, dtype=torch.float32)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        losses = []
        for _ in range(15):
            losses.append(loss_and_gradients(net, graph, *batch)[0])
            optimizer.step()
        assert losses[-1] < losses[0]


@pytest.mark.parametrize("scaling", ["tensor", "network"])
def test_mlp_equals_its_specification(scaling: str) -> None:
    graph, net = random_graph(4), lively(WNNPlus(hidden=8)).double()
    states, targets, mask, _ = windows(graph)
    found, streamed = loss_and_gradients(net, graph, states, targets, mask, scaling=scaling)
    sizes = torch.tensor([p.numel for p in graph.parameters])
    mean, divisor = (
        t.repeat_interleave(sizes, dim=1)[..., None] for t in window_scales(states, graph.parameters, scaling)
    )
    types = graph.edge_types()[graph.parameter_slots()[0]]
    net.zero_grad()
    update = net((states - mean) / divisor, types)[..., :7]
    errors = (update - (targets - states[..., -1:]) / divisor).abs()
    wanted = errors[mask[:, None].expand_as(errors)].mean()
    wanted.backward()
    torch.testing.assert_close(found, wanted.detach())
    torch.testing.assert_close(streamed, {name: p.grad for name, p in net.named_parameters()})


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match=r"`kind` \(='rnn'\) must be 'nino' or 'wnn\+'"):
        build_nowcaster("rnn")
