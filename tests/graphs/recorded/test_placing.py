"""Where recorded parameters lie: whatever is done to a weight before it meets neurons, each element has one place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nino.graphs import EdgeType, NeuralGraph, neural_graph
from nino.graphs.symmetry.atoms import renumberings
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


def _blocks(graph: NeuralGraph, name: str) -> set[tuple[EdgeType, int, int, int]]:
    """Type, sizes and kernel positions of a parameter's blocks."""
    blocks = [block for block in graph.blocks if block.name == name]
    return {(block.edge_type, block.source.size, block.target.size, block.features) for block in blocks}


@pytest.mark.parametrize("order", ["bthk", "bhtk"])
def test_heads_of_weights_in_einsum_have_neurons_of_their_own(order: str) -> None:
    def attention(m: nn.Module, x: Tensor) -> Tensor:
        x = m.a(x)
        q, k, v = (torch.einsum(f"btd,hdk->{order}", x, w) for w in (m.q, m.k, m.v))
        if order == "bthk":
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return torch.einsum("bhtk,hko->bto", (q @ k.transpose(-1, -2)).softmax(-1) @ v, m.o)

    heads = {name: nn.Parameter(torch.randn(2, 8, 4)) for name in "qkv"}
    model = Apply(attention, a=nn.Linear(6, 8), **heads, o=nn.Parameter(torch.randn(2, 4, 3)))
    graph = neural_graph(model, "exact", example=torch.randn(TOKENS))
    assert not graph.carried
    assert _blocks(graph, "q") == {(EdgeType.QUERY, 8, 4, 1)}
    assert _blocks(graph, "k") == {(EdgeType.KEY, 4, 8, 1)}
    assert _blocks(graph, "v") == {(EdgeType.VALUE, 8, 4, 1)}
    assert _blocks(graph, "o") == {(EdgeType.LINEAR, 8, 3, 1)}
    assert sorted(r.size for r in renumberings(graph)) == [4, 4, 4, 4, 8]
    assert graph.verify(model, torch.randn(TOKENS))


def test_one_weight_for_queries_keys_and_values_reads_the_input() -> None:
    def attention(m: nn.Module, x: Tensor) -> Tensor:
        q, k, v = torch.einsum("btd,chdk->cbhtk", x, m.qkv)
        return torch.einsum("bhtk,hok->bto", (q @ k.transpose(-1, -2) * m.tau).softmax(-1) @ v, m.o)

    qkv, o = nn.Parameter(torch.randn(3, 2, 6, 4)), nn.Parameter(torch.randn(2, 3, 4))
    model = Apply(attention, qkv=qkv, o=o, tau=nn.Parameter(torch.ones(2, 1, 1)))
    graph = neural_graph(model, "exact", example=torch.randn(TOKENS))
    types = {(EdgeType.QUERY, 6, 4, 1), (EdgeType.KEY, 4, 6, 1), (EdgeType.VALUE, 6, 4, 1)}
    assert _blocks(graph, "qkv") == types
    assert sorted(r.size for r in renumberings(graph)) == [4, 4, 4, 4]
    assert graph.verify(model, torch.randn(TOKENS))


def test_experts_in_einsum_go_with_their_router() -> None:
    def experts(m: nn.Module, x: Tensor) -> Tensor:
        x = m.a(x)
        gate, index = m.router(x).topk(2, -1)
        gates = x.new_zeros(*x.shape[:2], 4).scatter(-1, index, gate.softmax(-1))
        hidden = torch.relu(torch.einsum("btd,edf->btef", x, m.up) + m.bias)
        return torch.einsum("btef,efd,bte->btd", hidden, m.down, gates)

    up, down = nn.Parameter(torch.randn(4, 8, 10)), nn.Parameter(torch.randn(4, 10, 3))
    layers = {"a": nn.Linear(6, 8), "router": nn.Linear(8, 4), "bias": nn.Parameter(torch.randn(4, 10))}
    model = Apply(experts, **layers, up=up, down=down)
    graph = neural_graph(model, "exact", example=torch.randn(TOKENS))
    assert _blocks(graph, "up") == {(EdgeType.LINEAR, 8, 10, 1)}
    assert _blocks(graph, "down") == {(EdgeType.LINEAR, 10, 3, 1)}
    assert {r.size for r in renumberings(graph)} == {8, 10}
    checked = graph.verify(model, torch.randn(TOKENS))
    assert checked, str(checked)


@pytest.mark.parametrize("write", [lambda w: w.data.div_(w.data.norm()), lambda w: w.detach().view(-1)[:6].mul_(2.0)])
def test_parameters_written_through_views_are_carried(write: Callable[[Tensor], Tensor]) -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        write(m.a.weight)
        return m.b(torch.relu(m.a(x)))

    model = Apply(forward, a=nn.Linear(6, 8), b=nn.Linear(8, 3))
    graph = neural_graph(model, "exact", example=torch.randn(TOKENS))
    assert graph.reasons == {"a.weight": "written in place"}
    assert graph.verify(model, torch.randn(TOKENS))
