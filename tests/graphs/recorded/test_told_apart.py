"""Neurons that an operation tells apart though it looks symmetric, and those that only seem to be told apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nino.graphs import neural_graph
from nino.graphs.symmetry.atoms import renumberings
from nino.graphs.symmetry.verification import verify
from tests.graphs.recorded.networks import Apply

Forward = Callable[[nn.Module, Tensor], object]


def _halves(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    return m.b(torch.relu(x)) * x[..., :4].mean(-1, keepdim=True) + x[..., 4:].mean(-1, keepdim=True)


def _other_sums_of_halves(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    return m.b(torch.relu(x)) * x[..., :4].amax(-1, keepdim=True) + x[..., 4:].pow(2).sum(-1, keepdim=True)


def _half_of_ones(m: nn.Module, x: Tensor) -> Tensor:
    mask = torch.zeros(8)
    mask[:3] = 1
    return m.b(torch.relu(m.a(x) + mask))


def _scattered(m: nn.Module, x: Tensor) -> Tensor:
    gates = m.c(x).topk(2, -1)
    return m.b(m.a(x) * x.new_zeros(*x.shape[:-1], 8).scatter(-1, gates.indices, gates.values))


def _gated(m: nn.Module, x: Tensor) -> Tensor:
    h = m.two(x)
    return m.b(torch.relu(m.c(x))) * h[..., :1] + h[..., 1:2].exp()


def _quotient(m: nn.Module, x: Tensor) -> Tensor:
    h = m.two(x)
    return m.b(torch.relu(m.c(x))) * (h[..., :1] / h[..., 1:2])


def _boxes(m: nn.Module, x: Tensor) -> Tensor:
    h = m.four(x)
    left, low, width, height = h[..., 0], h[..., 1], h[..., 2].exp(), h[..., 3].exp()
    corners = torch.stack([left - width, low - height, left + width, low + height], -1)
    return m.b(torch.relu(m.c(x))) * ((corners[..., 2:] - corners[..., :2]).prod(-1, keepdim=True) + corners[..., :1])


def _plain(function: Callable[[Tensor], Tensor]) -> Forward:
    return lambda m, x: m.b(torch.relu(function(m.a(x))))


#: A forward over ``a`` and ``c`` (6 to 8), ``b`` (8 to 3) and more, and how many neurons stay free.
CASES: dict[str, tuple[Forward, int]] = {
    "numbers of the largest looked up": (lambda m, x: m.e(m.a(x).max(-1).indices), 0),
    "numbers of the median returned": (lambda m, x: m.a(x).median(-1), 0),
    "largest alone": (lambda m, x: m.b(m.a(x)) * m.a(x).max(-1, keepdim=True).values, 8),
    "distances of two": (lambda m, x: torch.cdist(m.a(x), m.c(x * 2)), 8),
    "distances from prototypes": (lambda m, x: torch.cdist(m.a(x), m.p), 8),
    "sought in a table": (lambda m, x: torch.searchsorted(m.t, m.a(x)).float().cumsum(-1), 0),
    "sums of halves": (_halves, 8),
    "other sums of halves": (_other_sums_of_halves, 8),
    "one neuron gates, one is added": (_gated, 8),
    "one neuron by another": (_quotient, 8),
    "corners of boxes": (_boxes, 8),
    "counted": (_plain(lambda h: h + torch.ones(8).cumsum(0)), 0),
    "ones beside zeros": (_plain(lambda h: h * torch.cat([torch.ones(4), torch.zeros(4)])), 0),
    "a triangle of ones": (_plain(lambda h: h + torch.ones(8, 8).tril().sum(0)), 0),
    "ones in a part": (_half_of_ones, 0),
    "scattered": (_scattered, 0),
    "twos": (_plain(lambda h: h * (torch.ones(8) * 2)), 8),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_free_is_interchangeable(name: str) -> None:
    torch.manual_seed(0)
    forward, free = CASES[name]
    layers = {"a": nn.Linear(6, 8), "b": nn.Linear(8, 3), "c": nn.Linear(6, 8), "e": nn.Embedding(9, 8)}
    layers |= {"two": nn.Linear(6, 2), "four": nn.Linear(6, 4)}
    constants = {"p": nn.Parameter(torch.randn(5, 8)), "t": torch.linspace(-1, 1, 8)}
    model, x = Apply(forward, **layers, **constants), torch.randn(4, 7, 6)
    graph = neural_graph(model, "exact", example=x)
    assert set(graph.reasons.values()) <= {"no operation reads it"}
    assert sum(renumbering.size for renumbering in renumberings(graph)) == free
    for seed in range(3):
        checked = verify(graph, model, x, seed=seed)
        assert checked, str(checked)


def test_a_parameter_that_an_operation_reads_is_carried_with_its_name() -> None:
    model = Apply(lambda m, x: nn.functional.cross_entropy(m.a(x), x.argmax(-1), m.p), a=nn.Linear(6, 6),
                  p=nn.Parameter(torch.rand(6)), q=nn.Parameter(torch.randn(8)))  # fmt: skip
    reasons = neural_graph(model, "exact", example=torch.randn(4, 6)).reasons
    assert reasons == {"p": "nll_loss_forward", "q": "no operation reads it"}
