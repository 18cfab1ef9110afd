"""Every input that a nowcaster cannot use is refused by name, with what is allowed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nino.graphs import NeuralGraph, neural_graph
from nino.nowcasters import WNN, Identity, LineFit, NiNoNet, Nowcaster, RandomJump, WNNPlus
from nino.ranks import Ranks
from tests.nowcasters.helpers import MODELS, history

ALL = [NiNoNet(hidden=8), WNNPlus(hidden=8), WNN(), LineFit(), Identity(), RandomJump()]


@pytest.fixture(scope="module")
def graph() -> NeuralGraph:
    return neural_graph(MODELS["conv_4_6_6"]())


@pytest.mark.parametrize("net", ALL, ids=lambda n: type(n).__name__)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_states_that_are_not_finite_name_the_parameter(net: Nowcaster, graph: NeuralGraph, bad: float) -> None:
    states = history(graph.num_parameters)
    place = next(p for p in graph.parameters if p.name == "fc.2.bias")
    states[place.offset + 2, 1] = bad
    with pytest.raises(ValueError, match=r"NaN or infinity in parameter 'fc.2.bias'.*earlier checkpoint"):
        net.predict(graph, states, 5)


@pytest.mark.parametrize("net", ALL, ids=lambda n: type(n).__name__)
def test_states_of_another_model(net: Nowcaster, graph: NeuralGraph) -> None:
    with pytest.raises(ValueError, match=r"`states` has shape \(661, 5\), but the graph has 662 parameters"):
        net.predict(graph, history(661), 5)


@pytest.mark.parametrize("net", ALL, ids=lambda n: type(n).__name__)
def test_number_of_states(net: Nowcaster, graph: NeuralGraph) -> None:
    count = 1 if net.context is None else 4
    with pytest.raises(ValueError, match=rf"`states` holds {count} states, but {type(net).__name__} reads"):
        net.predict(graph, history(graph.num_parameters, count), 5)


@pytest.mark.parametrize("net", ALL, ids=lambda n: type(n).__name__)
def test_horizon(net: Nowcaster, graph: NeuralGraph) -> None:
    for k in (0, -1, *([net.max_horizon + 1] if net.max_horizon else [])):
        with pytest.raises(ValueError, match=rf"`k` \(={k}\)"):
            net.predict(graph, history(graph.num_parameters), k)


def test_wnn_has_one_horizon(graph: NeuralGraph) -> None:
    with pytest.raises(ValueError, match="k = 5"):
        WNN().predict(graph, history(graph.num_parameters), 3)


def test_integer_states(graph: NeuralGraph) -> None:
    with pytest.raises(ValueError, match="dtype torch.int64"):
        NiNoNet(hidden=8).predict(graph, torch.zeros(graph.num_parameters, 5, dtype=torch.long), 1)


def test_kernels_that_do_not_fit(graph: NeuralGraph) -> None:
    small = NiNoNet(hidden=8, max_features=4)
    with pytest.raises(ValueError, match=r"'fc.0.weight' has 9 kernel positions .*`max_features` \(=4\)"):
        small.predict(graph, history(graph.num_parameters), 1)


def test_words_that_the_checkpoint_does_not_know() -> None:
    gpt2 = neural_graph(MODELS["tiny_gpt2"]())
    with pytest.raises(ValueError, match=r"words up to 23.*`word_positions` \(=22\)"):
        NiNoNet(hidden=8, word_positions=22).predict(gpt2, history(gpt2.num_parameters), 1)


def test_positions_of_another_graph(graph: NeuralGraph) -> None:
    with pytest.raises(ValueError, match=r"`lpe` has shape \(30, 8\), but the graph has 31 nodes"):
        NiNoNet(hidden=8).predict(graph, history(graph.num_parameters), 1, lpe=torch.zeros(30, 8))


@pytest.mark.usefixtures("unchecked")
def test_unknown_options(graph: NeuralGraph) -> None:
    net, states = NiNoNet(hidden=8), history(graph.num_parameters)
    with pytest.raises(ValueError, match=r"`engine` \(='fast'\)"):
        net.predict(graph, states, 1, engine="fast")
    with pytest.raises(ValueError, match=r"`unscale` \(='no'\)"):
        net.predict(graph, states, 1, unscale="no")
    with pytest.raises(ValueError, match=r"`hidden` \(=0\) must be at least 1"):
        NiNoNet(hidden=0)
    with pytest.raises(ValueError, match=r"`hidden` \(=-1\) must be at least 1"):
        WNNPlus(hidden=-1)


def test_the_edge_list_is_of_whole_graphs(graph: NeuralGraph) -> None:
    shared = replace(graph, ranks=Ranks(0, 2))
    with pytest.raises(ValueError, match=r"`engine` \(='edges'\) computes on whole graphs"):
        NiNoNet(hidden=8).predict(shared, history(graph.num_parameters), 1, engine="edges")


def test_training_windows(graph: NeuralGraph) -> None:
    net, count = NiNoNet(hidden=8), graph.num_parameters
    states, targets = torch.zeros(2, count, 5), torch.zeros(2, count, 3)
    mask, lpe = torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, graph.num_nodes, 8)
    for name, args in {
        "states": (states[:, 1:], targets, mask, lpe),
        "targets": (states, targets[..., :2], mask, lpe),
        "mask": (states, torch.zeros(2, count, 41), torch.ones(2, 41, dtype=torch.bool), lpe),
        "lpe": (states, targets, mask, lpe[:1]),
    }.items():
        with pytest.raises(ValueError, match=f"`{name}` has shape"):
            net.training_loss(graph, *args)
    with pytest.raises(ValueError, match="`mask` is False everywhere"):
        net.training_loss(graph, states, targets, ~mask, lpe)
    with pytest.raises(ValueError, match=r"`engine` \(='fast'\)"):
        net.training_loss(graph, states, targets, mask, lpe, engine="fast")
