"""The streamed engine equals the specification, whatever the graph, the chunk and the way states are stored."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from nino.graphs import NeuralGraph, neural_graph
from nino.nowcasters import WNN, FileStates, LineFit, NiNoNet, WNNPlus
from nino.nowcasters.engines import streamed
from nino.nowcasters.engines.reader import Reader
from nino.nowcasters.scaling import measure
from nino.nowcasters.states import TensorStates
from nino.threads import Workers
from tests.nowcasters.helpers import MODELS, history, lively, random_graph


def relative(found: Tensor, wanted: Tensor, last: Tensor) -> float:
    return float((found - wanted).abs().max() / (wanted - last).abs().max())


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_edge_list_on_random_graphs(seed: int, layers: int) -> None:
    graph = random_graph(seed)
    net = lively(NiNoNet(hidden=16, layers=layers))
    states = history(graph.num_parameters)
    for k in (1, 40):
        wanted = net.predict(graph, states, k, engine="edges")
        assert relative(net.predict(graph, states, k), wanted, states[:, -1]) < 1e-4


@pytest.mark.parametrize("budget", [1_500, 10_000, 100_000])
def test_the_chunk_changes_nothing_but_rounding(budget: int) -> None:
    graph, net = random_graph(5), lively(NiNoNet(hidden=16))
    states = history(graph.num_parameters)
    whole = net.predict(graph, states, 20)
    assert relative(net.predict(graph, states, 20, memory_budget=budget), whole, states[:, -1]) < 1e-5


def test_a_budget_for_less_than_one_edge_is_refused() -> None:
    graph = random_graph(5)
    with pytest.raises(ValueError, match=r"`memory_budget` \(=10\) must be at least"):
        NiNoNet(hidden=16).predict(graph, history(graph.num_parameters), 1, memory_budget=10)


def test_states_of_any_layout_and_dtype(tmp_path: Path) -> None:
    graph = neural_graph(MODELS["conv_4_6_6"]())
    net = lively(NiNoNet(hidden=16))
    states = history(graph.num_parameters).half().float()
    wanted = net.predict(graph, states, 9)
    wide = torch.zeros(graph.num_parameters, 20)
    wide[:, 3::4] = states
    files = []
    for i in range(5):
        files.append(tmp_path / f"{i}.safetensors")
        tensors = {p.name: states[p.slice, i].reshape(p.shape).half().contiguous() for p in graph.parameters}
        save_file(tensors, files[-1])
    others = [states.T.contiguous().T, wide[:, 3::4], states.half(), states.double(), FileStates(files, graph)]
    for other in others:
        assert relative(net.predict(graph, other, 9), wanted, states[:, -1]) < 1e-5
    # fewer bits in storage must not mean fewer bits in arithmetic
    rounded = states.bfloat16()
    assert torch.equal(net.predict(graph, rounded, 9), net.predict(graph, rounded.float(), 9))


def test_scales_of_values_far_from_zero_and_of_equal_ones() -> None:
    """Gains of norms: a mean of 1 and a deviation that float32 hardly holds beside it, or none."""
    graph = neural_graph(MODELS["conv_bn"]())
    states = 1 + 1e-5 * history(graph.num_parameters)
    states[graph.parameters[0].slice] = 0.1
    with Workers(1) as workers:
        scales = measure(TensorStates(states), graph.parameters, "tensor", workers)
    for p, scale in zip(graph.parameters, scales, strict=True):
        values = states[p.slice].double()
        assert abs(scale.mean - float(values.mean())) < 1e-7
        assert abs(scale.std - float(values.std())) < 1e-3 * float(values.std()) + 1e-12


def test_nothing_of_the_caller_is_changed() -> None:
    graph, net = random_graph(2), lively(NiNoNet(hidden=8))
    states = history(graph.num_parameters)
    lpe = torch.randn(graph.num_nodes, 8)
    before = [states.clone(), lpe.clone(), *(p.detach().clone() for p in net.parameters())]
    random = torch.get_rng_state()
    for engine in ("streamed", "edges"):
        prediction = net.predict(graph, states, 7, lpe=lpe, engine=engine)
        prediction.requires_grad_()  # an ordinary tensor, not one of inference mode
    after = [states, lpe, *net.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(random, torch.get_rng_state())
    NiNoNet(hidden=8)
    assert torch.equal(random, torch.get_rng_state()), "constructing a nowcaster must leave the global generator alone"


def test_one_nowcaster_serves_many_models_and_threads() -> None:
    net = lively(NiNoNet(hidden=16))
    graphs = [neural_graph(MODELS[name]()) for name in ("tiny_gpt2", "conv_4_6_6", "mlp", "tiny_gpt2")]
    jobs: list[tuple[NeuralGraph, Tensor]] = [(g, history(g.num_parameters, seed=i)) for i, g in enumerate(graphs)]
    alone = [lively(NiNoNet(hidden=16)).predict(g, s, 3) for g, s in jobs]
    assert all(torch.equal(net.predict(g, s, 3), a) for (g, s), a in zip(jobs, alone, strict=True))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: net.predict(*job, 3), jobs))
    assert all(torch.equal(t, a) for t, a in zip(together, alone, strict=True))


@pytest.mark.parametrize("budget", [None, 60_000])
def test_no_bit_depends_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch, budget: int | None) -> None:
    monkeypatch.setattr(streamed, "RANGE", 40)  # small graphs in many ranges
    before = torch.get_num_threads()
    for graph in (random_graph(3), neural_graph(MODELS["tiny_gpt2"]())):
        states = history(graph.num_parameters)
        for net in (lively(NiNoNet(hidden=16)), lively(WNNPlus(hidden=16)), lively(WNN()), LineFit()):
            found = []
            for torch_threads, threads in ((1, 1), (2, 1), (2, 2), (2, 3), (1, 8)):
                torch.set_num_threads(torch_threads)
                found.append(net.predict(graph, states, 5, memory_budget=budget, threads=threads))
            torch.set_num_threads(before)
            assert all(torch.equal(other, found[0]) for other in found[1:])


def test_permuting_hidden_neurons_permutes_the_prediction() -> None:
    graph = neural_graph(MODELS["mlp"]())
    net = lively(NiNoNet(hidden=16))
    states, lpe = history(graph.num_parameters), torch.randn(graph.num_nodes, 8)
    order = torch.randperm(12)
    hidden = next(b.target for b in graph.blocks if b.name == "fc.0.weight")
    moved_lpe = lpe.clone()
    moved_lpe[hidden.slice] = lpe[hidden.slice][order]

    def move(flat: Tensor) -> Tensor:
        out = flat.clone()
        for p in graph.parameters:
            whole = flat[p.slice].view(*p.shape, -1)
            if p.name in ("fc.0.weight", "fc.0.bias"):
                out[p.slice] = whole[order].view(p.numel, -1)
            elif p.name == "fc.2.weight":
                out[p.slice] = whole[:, order].reshape(p.numel, -1)
        return out

    moved = move(net.predict(graph, states, 5, lpe=lpe)[:, None])[:, 0]
    torch.testing.assert_close(net.predict(graph, move(states), 5, lpe=moved_lpe), moved, rtol=1e-5, atol=1e-5)


def test_word_positions_reach_the_prediction() -> None:
    graph = neural_graph(MODELS["tiny_gpt2"]())
    net = lively(NiNoNet(hidden=8, word_positions=23))
    states = history(graph.num_parameters)
    assert "wte_pos_enc_layer.weight" in net.state_dict() and net.state_dict()["wte_pos_enc_layer.weight"].shape == (
        24,
        8,
    )
    wanted = net.predict(graph, states, 20, engine="edges")
    assert relative(net.predict(graph, states, 20), wanted, states[:, -1]) < 1e-4
    some, kept = graph.sample_words(torch.tensor([3, 7, 20]))
    wanted = net.predict(some, states[kept], 20, engine="edges")
    assert relative(net.predict(some, states[kept], 20), wanted, states[kept, -1]) < 1e-4


def test_an_update_of_zero() -> None:
    """Released scaling divides by std + 1e-6 and multiplies by std; ``exact`` gives the last state back."""
    graph = neural_graph(MODELS["mlp"]())
    net = lively(NiNoNet(hidden=8))
    torch.nn.init.zeros_(net.edge_out.fc[2].weight)
    torch.nn.init.zeros_(net.edge_out.fc[2].bias)
    states = history(graph.num_parameters)
    states = (states - states.mean()) / states.std() * 1e-5
    for engine in ("streamed", "edges"):
        assert torch.equal(net.predict(graph, states, 1, engine=engine, unscale="exact"), states[:, -1])
        kept = net.predict(graph, states, 1, engine=engine) / states[:, -1]
        assert 0.08 < 1 - kept.median() < 0.10


def test_carried_parameters_keep_their_last_state() -> None:
    graph = neural_graph(MODELS["mlp"]())
    blocks = tuple(b for b in graph.blocks if b.name != "fc.2.weight")
    some = NeuralGraph(graph.groups, blocks, graph.parameters, graph.num_nodes, carried=("fc.2.weight",))
    net, states = lively(NiNoNet(hidden=8)), history(graph.num_parameters)
    place = next(p.slice for p in graph.parameters if p.name == "fc.2.weight")
    for engine in ("streamed", "edges"):
        found = net.predict(some, states, 4, engine=engine)
        assert torch.equal(found[place], states[place, -1])
        assert (found != states[:, -1]).sum() > 0.9 * (graph.num_parameters - 96)


def test_bfloat16_products_are_close() -> None:
    graph, net = random_graph(1), lively(NiNoNet(hidden=32))
    states = history(graph.num_parameters)
    exact = net.predict(graph, states, 20)
    rough = net.predict(graph, states, 20, precision=torch.bfloat16)
    assert 0 < relative(rough, exact, states[:, -1]) < 0.1


def test_states_staged_from_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens between CPU states and a GPU engine, tried on one device: runs of memory travel, not elements."""
    original = Reader.__init__

    def staged(self: Reader, *args: Any) -> None:
        original(self, *args)
        self._staged = True

    for graph in (*map(random_graph, range(4)), neural_graph(MODELS["tiny_llama"]())):
        states = history(graph.num_parameters)
        for net in (lively(NiNoNet(hidden=16)), lively(WNNPlus(hidden=16))):
            for budget in (None, 3_000):
                wanted = net.predict(graph, states, 20, memory_budget=budget)
                with monkeypatch.context() as patched:
                    patched.setattr(Reader, "__init__", staged)
                    found = net.predict(graph, states.T.contiguous().T, 20, memory_budget=budget)
                assert relative(found, wanted, states[:, -1]) < 1e-5
