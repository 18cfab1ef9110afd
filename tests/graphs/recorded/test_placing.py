"""Where recorded parameters lie: whatever is done to a weight before it meets neurons, each element has one place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nino.graphs import neural_graph
from tests.graphs.recorded.networks import Apply


def test_kernel_positions_that_strides_keep_apart_are_not_copied() -> None:
    """A learned constant through a transposed convolution, and a weight of which nothing meets two dimensions."""

    def constant(m: nn.Module, z: Tensor) -> Tensor:
        return torch.relu(m.up(m.start.expand(len(z), -1, -1, -1)) * m.f(z)[..., None, None])

    def outer(m: nn.Module, x: Tensor) -> Tensor:
        return x + m.w.sum((0, 2))

    start = nn.Parameter(torch.randn(1, 8, 4, 4))
    model = Apply(constant, start=start, up=nn.ConvTranspose2d(8, 6, 4, 2, 1), f=nn.Linear(6, 6))
    graph = neural_graph(model, "exact", example=torch.randn(2, 6))
    kernels = [block for block in graph.blocks if block.name == "up.weight"]
    assert {(block.source.size, block.target.size) for block in kernels} == {(8, 6)}
    assert sum(block.features for block in kernels) == 16
    assert graph.verify(model, torch.randn(2, 6)).renumbered
    assert not graph.carried
    summed = Apply(outer, w=nn.Parameter(torch.randn(5, 8, 3)))
    graph = neural_graph(summed, "exact", example=torch.randn(2, 8))
    assert not graph.carried


TOKENS = (4, 7, 6)


@pytest.mark.parametrize("write", [lambda w: w.data.div_(w.data.norm()), lambda w: w.detach().view(-1)[:6].mul_(2.0)])
def test_parameters_written_through_views_are_carried(write: Callable[[Tensor], Tensor]) -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        write(m.a.weight)
        return m.b(torch.relu(m.a(x)))

    model = Apply(forward, a=nn.Linear(6, 8), b=nn.Linear(8, 3))
    graph = neural_graph(model, "exact", example=torch.randn(TOKENS))
    assert graph.reasons == {"a.weight": "written in place"}
    assert graph.verify(model, torch.randn(TOKENS))
