"""WNN: the weight nowcaster network of Jang et al. (ICML 2023), with its three published predictors."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

from nino.graphs import NeuralGraph, Parameter
from nino.nowcasters.network import initialise
from nino.nowcasters.pointwise import Pointwise

ROWS = 1 << 14  # scalars at a time: their 64 features a stream stay in the cache
SLOPE = 0.3  # of the leaky ReLU: the Keras default that the published weights were trained with


class Predictor(nn.Module):
    r"""Predicts scalars of one kind from their 5 scaled states and 4 differences, in two streams.

    Each stream: a = linear(inputs), r = ReLU(linear(a)), then linears of r: shift b, gain g, exponent h;
    features = LeakyReLU(linear(g * exp(a * h) + b)). Both streams' features -> linear -> tanh.
    """

    def __init__(self) -> None:
        """Create the layers under their published names: dense_0..5 the first stream, dense_6..11 the second."""
        super().__init__()
        sizes = {0: (5, 64), 1: (64, 8), 2: (8, 64), 3: (8, 64), 4: (8, 64), 5: (64, 32)}
        for first, inputs in ((0, 5), (6, 4)):
            for i, (width_in, width_out) in sizes.items():
                layer = nn.Linear(inputs if i == 0 else width_in, width_out)
                self.add_module(f"dense_{first + i}" if first + i else "dense", layer)
        self.dense_12 = nn.Linear(64, 1)

    def stream(self, x: Float[Tensor, "elements inputs"], first: int) -> Float[Tensor, "elements 32"]:
        """Features of one stream, whose first layer has number ``first``."""
        layers = [self.get_submodule(f"dense_{i}" if i else "dense") for i in range(first, first + 6)]
        a = layers[0](x)
        r = relu(layers[1](a))
        shift, gain, exponent = (layer(r) for layer in layers[2:5])
        return leaky_relu(layers[5](gain * torch.exp(a * exponent) + shift), SLOPE)

    def forward(self, x: Float[Tensor, "elements 5"]) -> Float[Tensor, " elements"]:
        """Update in scaled units, from scaled states."""
        features = torch.cat([self.stream(x, 0), self.stream(x.diff(dim=1), 6)], dim=1)
        return torch.tanh(self.dense_12(features)).squeeze(1)


class WNN(nn.Module, Pointwise):
    r"""One predictor each for convolutions, matrices and vectors (biases, norms), scalar by scalar.

    A scalar's states are scaled by its own range, :math:`\tilde w = (w - w_1) / (2 (\max w - \min w + 10^{-5} +
    10^{-8}))`; the update is added to the last scaled state. It looks one period ahead only: k = 5 saved states.

    Args:
        seed: of the initialisation.
    """

    kind = "wnn"
    context = 5
    max_horizon = 5
    fixed_horizon = 5

    def __init__(self, seed: int = 0) -> None:
        """Create the three predictors."""
        super().__init__()
        self.config: dict[str, int] = {}
        with torch.device("meta"):
            self.conv, self.linear, self.bias = Predictor(), Predictor(), Predictor()
        initialise(self, seed)

    def check(self, graph: NeuralGraph, states: Any, k: int) -> None:
        """Also refuse any horizon but the one that WNN was trained for."""
        super().check(graph, states, k)
        if k != self.fixed_horizon:
            raise ValueError(f"`k` (={k}): WNN predicts one period ahead, k = {self.fixed_horizon} states")

    def update(
        self, states: Float[Tensor, "elements states"], k: int, parameter: Parameter
    ) -> Float[Tensor, " elements"]:
        """The predictor of the parameter's kind, by its dimensions: over 2 convolution, 2 linear, below bias."""
        dimensions = len(parameter.shape)
        predictor = self.conv if dimensions > 2 else self.linear if dimensions == 2 else self.bias
        device = predictor.dense_12.weight.device
        return torch.cat([scalar_update(predictor, rows.to(device)) for rows in states.split(ROWS)]).to(states.device)


def scalar_update(predictor: Predictor, states: Float[Tensor, "elements 5"]) -> Float[Tensor, " elements"]:
    """Update of scalars from their states."""
    span = 2 * (states.amax(dim=1) - states.amin(dim=1) + 1e-8 + 1e-5)
    return predictor((states - states[:, :1]) / span[:, None]) * span
