"""The line fit, the controls and WNN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nino.graphs import NeuralGraph, neural_graph
from nino.nowcasters import NOWCASTERS, WNN, Identity, LineFit, RandomJump, load_nowcaster
from nino.nowcasters.simple import line_weights
from nino.nowcasters.wnn import Predictor, scalar_update
from tests.nowcasters.helpers import MODELS, history


@pytest.fixture(scope="module")
def graph() -> NeuralGraph:
    return neural_graph(MODELS["conv_4_6_6"]())


@pytest.mark.parametrize("c", [2, 3, 5, 9])
def test_line_fit_is_least_squares(graph: NeuralGraph, c: int) -> None:
    states = history(graph.num_parameters, c)
    slope, start = np.polyfit(np.arange(c), states.double().numpy().T, 1)
    wanted = torch.from_numpy(start + slope * (c - 1 + 7)).float()
    torch.testing.assert_close(LineFit().predict(graph, states, 7), wanted, rtol=1e-4, atol=1e-4)
    assert line_weights(c, 7).sum() == pytest.approx(1)


def test_line_fit_keeps_constants_to_the_bit(graph: NeuralGraph) -> None:
    states = history(graph.num_parameters, 1).expand(-1, 5)
    assert torch.equal(LineFit().predict(graph, states, 40), states[:, -1])


def test_identity(graph: NeuralGraph) -> None:
    states = history(graph.num_parameters)
    assert torch.equal(Identity().predict(graph, states, 40), states[:, -1])


def test_random_jumps_are_as_long_as_the_lines(graph: NeuralGraph) -> None:
    states, generator = history(graph.num_parameters), torch.get_rng_state()
    line, jump = LineFit().predict(graph, states, 9), RandomJump(1).predict(graph, states, 9)
    for p in graph.parameters:
        last = states[p.slice, -1]
        torch.testing.assert_close((jump[p.slice] - last).norm(), (line[p.slice] - last).norm(), rtol=1e-4, atol=1e-6)
        assert not torch.allclose(jump[p.slice], line[p.slice])
    assert torch.equal(jump, RandomJump(1).predict(graph, states, 9)), "the same states jump the same way"
    others = RandomJump(2).predict(graph, states, 9), RandomJump(1).predict(graph, states + 0.1, 9) - 0.1
    assert all(not torch.allclose(jump, other) for other in others)
    assert torch.equal(generator, torch.get_rng_state())


def test_a_parameter_that_stands_still_does_not_jump(graph: NeuralGraph) -> None:
    states = torch.ones(graph.num_parameters, 5)
    assert torch.equal(RandomJump().predict(graph, states, 9), states[:, -1])


def test_registry(graph: NeuralGraph) -> None:
    states = history(graph.num_parameters)
    for make in NOWCASTERS.values():
        found = make().predict(graph, states.half(), 3)
        assert found.dtype == torch.float32 and found.shape == (graph.num_parameters,)


def slow_wnn(weights: dict[str, torch.Tensor], states: torch.Tensor) -> float:
    """One scalar by the formulas of `nino.nowcasters.wnn`, plainly."""
    w = {name.replace(".linear.", "."): t.double() for name, t in weights.items()}

    def dense(i: int, x: torch.Tensor) -> torch.Tensor:
        name = f"dense_{i}" if i else "dense"
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    states = states.double()
    span = (states.max() - states.min() + 1e-8 + 1e-5) * 2
    scaled = (states - states[0]) / span
    features = []
    for first, x in ((0, scaled), (6, scaled[1:] - scaled[:-1])):
        a = dense(first, x)
        r = dense(first + 1, a).clamp(min=0)
        y = dense(first + 5, dense(first + 3, r) * torch.exp(a * dense(first + 4, r)) + dense(first + 2, r))
        features.append(torch.where(y > 0, y, 0.3 * y))
    return float((scaled[-1] + torch.tanh(dense(12, torch.cat(features))))[0] * span + states[0])


@pytest.mark.shared
def test_wnn_with_its_published_predictors(graph: NeuralGraph, shared: Path) -> None:
    net, states = load_nowcaster(shared / "pretrained" / "wnn_fc.pt"), history(graph.num_parameters)
    found = net.predict(graph, states, 5)
    for p in graph.parameters:
        part = {4: "conv", 2: "fc", 1: "bias"}[len(p.shape)]
        weights = torch.load(shared / "pretrained" / f"wnn_{part}.pt", weights_only=True)
        for i in (0, p.numel - 1):
            assert found[p.offset + i] == pytest.approx(slow_wnn(weights, states[p.offset + i]), abs=1e-5)


def test_wnn_of_states_that_stand_still(graph: NeuralGraph) -> None:
    """The range is zero: the update is bounded by the small constant added to it."""
    states = torch.ones(graph.num_parameters, 5)
    assert (WNN().predict(graph, states, 5) - 1).abs().max() < 3e-5
    assert scalar_update(Predictor(), torch.ones(3, 5)).shape == (3,)
