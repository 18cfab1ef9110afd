"""Fewer messages and graphs in parts: exact where nothing is left out, alike for both engines, repeatable."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nino.graphs import Block, EdgeType, NeuralGraph, Nodes, Parameter, WeightView, neural_graph
from nino.nowcasters import Divided, LineFit, NiNoNet, SampledEdges, approximated, load_nowcaster
from nino.nowcasters.engines.sample import PIECE, EdgeSample
from nino.optim import NiNo
from tests.nowcasters.helpers import MODELS, golden_file, history, lively, random_graph


def relative(found: Tensor, wanted: Tensor, last: Tensor) -> float:
    return float((found - wanted).abs().max() / (wanted - last).abs().max())


@pytest.fixture(scope="module")
def net() -> NiNoNet:
    return lively(NiNoNet(hidden=16))


@pytest.fixture(scope="module")
def gpt2() -> NeuralGraph:
    return neural_graph(MODELS["tiny_gpt2"]())


def dense(sources: int, targets: int) -> NeuralGraph:
    """One dense block."""
    ends = {"x": Nodes(0, sources), "y": Nodes(sources, targets)}
    block = Block("w", ends["x"], ends["y"], EdgeType.LINEAR, "dense", WeightView(0, (targets, 1, 1)))
    return NeuralGraph(ends, (block,), (Parameter("w", 0, (sources, targets)),), sources + targets)


@pytest.mark.parametrize("seed", range(4))
def test_all_edges_are_the_exact_nowcast(net: NiNoNet, seed: int) -> None:
    graph = random_graph(seed)
    states = history(graph.num_parameters)
    exact = net.predict(graph, states, 9)
    found = SampledEdges(net, 1.0).predict(graph, states, 9)
    assert relative(found, exact, states[:, -1]) < 1e-5


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_engines_and_chunks_use_the_same_sample(net: NiNoNet, seed: int, share: float) -> None:
    graph = random_graph(seed)
    states = history(graph.num_parameters)
    some = SampledEdges(net, share, seed=seed)
    wanted = some.predict(graph, states, 9, engine="edges")
    for layout in (states, states.T.contiguous().T):
        for budget in (None, 3_000):
            found = some.predict(graph, layout, 9, memory_budget=budget)
            assert relative(found, wanted, states[:, -1]) < 1e-4
    assert relative(net.predict(graph, states, 9), wanted, states[:, -1]) > 1e-2


def test_a_sample_follows_its_seed_and_horizon(net: NiNoNet, gpt2: NeuralGraph) -> None:
    states = history(gpt2.num_parameters)
    torch.manual_seed(0)
    random = torch.get_rng_state()
    first = SampledEdges(net, 0.3, seed=1).predict(gpt2, states, 4)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(SampledEdges(net, 0.3, seed=1).predict(gpt2, states, 4), first)
    assert not torch.equal(SampledEdges(net, 0.3, seed=2).predict(gpt2, states, 4), first)
    assert len({EdgeSample(0.5, seed).edges(gpt2).sum().item() for seed in range(5)}) == 5


@pytest.mark.parametrize("inside", [False, True])
def test_each_nowcast_of_a_run_draws_its_own_sample_also_after_a_resume(
    net: NiNoNet, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    drawn: list[int] = []
    make = EdgeSample

    def noted(share: float, seed: int = 0) -> EdgeSample:
        drawn.append(seed)
        return make(share, seed)

    def start() -> tuple[nn.Module, NiNo]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
        some = SampledEdges(net, 0.5)
        nowcaster = Divided(some, "network") if inside else some
        base = torch.optim.SGD(model.parameters(), lr=1e-3)
        times = {"period": 5, "max_train_steps": 20, "power": 0}
        return model, NiNo(base, model=model, nowcaster=nowcaster, update_scale=1e-6, **times)

    def go_on(model: nn.Module, opt: NiNo, steps: int) -> None:
        for _ in range(steps):
            opt.zero_grad()
            model(torch.ones(3, 4)).square().sum().backward()
            opt.step()

    model, opt = start()
    again, resumed = start()
    monkeypatch.setattr("nino.nowcasters.approximate.EdgeSample", noted)
    go_on(model, opt, 12)
    state, values = opt.state_dict(), {name: p.clone() for name, p in model.state_dict().items()}
    go_on(model, opt, 8)
    assert len(set(drawn)) == 4, "the horizon is the same in all four"
    again.load_state_dict(values)
    resumed.load_state_dict(state)
    go_on(again, resumed, 8)
    assert drawn[4:] == drawn[2:4]


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_the_share_is_as_asked_for(share: float) -> None:
    graph = dense(400, 500)  # 200,000 edges, some pieces
    assert graph.num_edges > 3 * PIECE
    sample = EdgeSample(share, 3)
    kept = sample.edges(graph)
    weights, loops = kept[kept < 200_000], kept[kept >= 200_000]
    assert len(loops) == 900 and bool((kept.diff() > 0).all())
    assert abs(len(weights) / 200_000 - share) <= 4 * (share * (1 - share) / 200_000) ** 0.5
    counted = torch.bincount(graph.edge_index()[1, kept], minlength=900).float()
    assert torch.equal(sample.degrees(graph)[:, 0], counted)


def test_auxiliary_edges_all_stay(gpt2: NeuralGraph) -> None:
    kept = EdgeSample(0.1).edges(gpt2)
    types = gpt2.edge_types()
    auxiliary = torch.tensor([EdgeType(int(t)).auxiliary for t in types])
    assert set(auxiliary.nonzero().flatten().tolist()) <= set(kept.tolist())
    assert len(kept) < 0.3 * (~auxiliary).sum() + auxiliary.sum()


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_shares_that_are_none(net: NiNoNet, share: float) -> None:
    with pytest.raises(ValueError, match=r"`share` \(=.*\) of the edges must be above 0 and at most 1"):
        SampledEdges(net, share)


@pytest.mark.parametrize("seed", range(3))
def test_one_part_is_the_exact_nowcast(net: NiNoNet, seed: int, gpt2: NeuralGraph) -> None:
    for graph in (random_graph(seed), gpt2):
        states, lpe = history(graph.num_parameters), torch.randn(graph.num_nodes, 8)
        exact = net.predict(graph, states, 3, lpe=lpe)
        assert torch.equal(Divided(net, "network").predict(graph, states, 3, lpe=lpe), exact)
    assert torch.equal(Divided(net, "network").predict(gpt2, states, 3), net.predict(gpt2, states, 3))


def test_parts_are_nowcast_as_networks_of_their_own(net: NiNoNet, gpt2: NeuralGraph) -> None:
    states, divided = history(gpt2.num_parameters), Divided(net, "block")
    found = divided.predict(gpt2, states, 3)
    assert found is not states and relative(found, net.predict(gpt2, states, 3), states[:, -1]) > 1e-2
    edges = divided.predict(gpt2, states, 3, engine="edges")
    assert relative(found, edges, states[:, -1]) < 1e-4
    # what happens in one layer is not seen in another
    moved = states.clone()
    first, last = divided.parts(gpt2)[2], divided.parts(gpt2)[3]
    for p in first.parameters.values():
        moved[p.slice] = history(p.numel, seed=9)
    again = divided.predict(gpt2, moved, 3)
    for part, same in ((first, False), (last, True)):
        assert all(torch.equal(again[p.slice], found[p.slice]) == same for p in part.parameters.values())


def test_both_at_once_and_none(net: NiNoNet, gpt2: NeuralGraph) -> None:
    states = history(gpt2.num_parameters)
    both = approximated(net, edges=0.5, subgraphs="layer", seed=1)
    assert isinstance(both, Divided) and isinstance(both.net, SampledEdges) and not both.equivariant
    assert torch.equal(both.predict(gpt2, states, 3), both.predict(gpt2, states, 3))
    assert approximated(net) is net
    with pytest.raises(ValueError, match="LineFit sends none"):
        approximated(LineFit(), edges=0.5)
    with pytest.raises(ValueError, match=r"`by` \(='half'\) must be one of block, layer"):
        Divided(net, "half")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["gpt2_3_24", "llama_untied", "bert"])
def test_what_approximations_cost_the_published_weights(name: str, shared: Path) -> None:
    """The table of docs/studies.md: about as much as the same approximations cost in the released implementation."""
    case, net = golden_file(name, shared), load_nowcaster(shared / "pretrained" / "nino_no_posw.pt")
    assert isinstance(net, NiNoNet)
    graph, states = case.graph(), case.tensor("states")
    exact = net.predict(graph, states, 40)

    def cost(**options: object) -> float:
        found = approximated(net, **options).predict(graph, states, 40)  # type: ignore[arg-type]
        return float((found - exact).norm() / (exact - states[:, -1]).norm())

    assert 0.25 < cost(edges=0.5) < 0.5 and 0.6 < cost(edges=0.2) < 1.05 and 1.4 < cost(edges=0.05) < 2.5
    assert 0.4 < cost(subgraphs="block") < 0.7 and 0.9 < cost(subgraphs="layer") < 1.5


def test_carried_parameters_keep_their_last_state_and_are_checked(net: NiNoNet) -> None:
    graph = neural_graph(MODELS["mlp"]())
    blocks = tuple(b for b in graph.blocks if b.name != "fc.2.weight")
    some = NeuralGraph(graph.groups, blocks, graph.parameters, graph.num_nodes, carried=("fc.2.weight",))
    states = history(graph.num_parameters)
    place = next(p.slice for p in graph.parameters if p.name == "fc.2.weight")
    assert torch.equal(Divided(net).predict(some, states, 4)[place], states[place, -1])
    states[place.start, 0] = float("inf")
    with pytest.raises(ValueError, match="NaN or infinity in parameter 'fc.2.weight'"):
        Divided(net).predict(some, states, 4)
