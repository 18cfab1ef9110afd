"""A small model, its graph, its training, and nowcasters that need no files.

Imports no more than the wrapper does: the processes of the distributed test start with it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nino.graphs.core import Parameter
from nino.graphs.graph import NeuralGraph
from nino.optim import NiNo


class Line:
    """Goes on by k times the last difference, in any context."""

    context = None
    max_horizon = fixed_horizon = None

    def predict(self, graph, states, k, **options) -> Tensor:
        return (states[:, -1] + k * (states[:, -1] - states[:, -2])).float()


class Const:
    """Predicts one value everywhere; remembers the states it saw."""

    max_horizon = fixed_horizon = None

    def __init__(self, value: float, context: int | None = 5) -> None:
        self.value, self.context, self.calls = value, context, []

    def predict(self, graph, states, k, **options) -> Tensor:
        self.calls.append((states.clone(), k))
        return torch.full((states.shape[0],), self.value)


def graph_without_edges(model: nn.Module) -> NeuralGraph:
    """What nowcasters that look at no neighbours need of a graph."""
    parameters, offset = [], 0
    for name, p in model.named_parameters():
        parameters.append(Parameter(name, offset, tuple(p.shape)))
        offset += p.numel()
    return NeuralGraph(groups={}, blocks=(), parameters=tuple(parameters), num_nodes=0)


class Training:
    """A real training of a small model, one ``step()`` at a time: regression on fixed data in a fixed order."""

    def __init__(
        self, make_base=None, model=None, seed=0, period=10, total=40, nowcaster="line", loss=False, **options
    ):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(64, 6, generator=generator)
        self.y = torch.sin(self.x.sum(1, keepdim=True)) + self.x[:, :1]
        self.model = model if model is not None else small_model(seed)
        base = (make_base or (lambda ps: torch.optim.AdamW(ps, lr=1e-2)))(self.model.parameters())
        if nowcaster == "line":
            nowcaster = Line()
        if nowcaster is not None and "graph" not in options:
            options["graph"] = graph_without_edges(getattr(self.model, "module", self.model))
        if loss:
            options["loss"] = self.loss
        self.opt = NiNo(base, None, self.model, period, total, nowcaster=nowcaster, **options)
        self.done = 0

    def loss(self):
        rows = slice(self.done * 16 % 64, self.done * 16 % 64 + 16)
        dtype = next(self.model.parameters()).dtype
        return (self.model(self.x[rows].to(dtype)) - self.y[rows].to(dtype)).pow(2).mean()

    def step(self, closure=False):
        if closure:
            self.opt.step(self.backward)
        else:
            if self.opt.need_grads:
                self.backward()
            self.opt.step()
        self.done += 1
        return self

    def backward(self):
        self.opt.zero_grad()
        loss = self.loss()
        loss.backward()
        return loss

    def run(self, steps, **options):
        for _ in range(steps):
            self.step(**options)
        return self

    def flat(self):
        return torch.cat([p.detach().double().flatten() for p in self.model.parameters()])


def small_model(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
