"""The Laplacian positional encoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from nino.graphs import Block, EdgeType, Nodes, laplacian, neural_graph
from nino.graphs.lanczos import largest_eigenpairs
from nino.graphs.laplacian import BlockAdjacency, block_ranges, laplacian_encoding

NODES = 12


@st.composite
def any_block(draw: st.DrawFn) -> Block:
    kind = draw(st.sampled_from(["dense", "diagonal"]))
    source = draw(st.integers(0, NODES - 1))
    size = draw(st.integers(1, NODES - source))
    target = draw(st.integers(0, NODES - size))
    width = size if kind == "diagonal" else draw(st.integers(1, NODES - target))
    return Block(draw(st.sampled_from("ab")), Nodes(source, size), Nodes(target, width), EdgeType.HEAD, kind)


def _dense(blocks: list[Block], nodes: int) -> np.ndarray:
    adjacency = np.zeros((nodes, nodes))
    for b in blocks:
        for i in range(b.source.size):
            for j in [i] if b.kind == "diagonal" else range(b.target.size):
                adjacency[b.source.start + i, b.target.start + j] = 1
    adjacency = np.maximum(adjacency, adjacency.T)
    np.fill_diagonal(adjacency, 0)
    return adjacency


@settings(deadline=None, max_examples=200)
@given(st.lists(any_block(), min_size=1, max_size=6))
def test_products_count_every_undirected_pair_once(blocks: list[Block]) -> None:
    adjacency = BlockAdjacency(NODES, block_ranges(blocks))
    dense = _dense(blocks, NODES)
    np.testing.assert_array_equal(adjacency @ np.eye(NODES), dense)
    twins = adjacency.twins()
    for number in np.unique(twins):  # twins have the same neighbours, each other apart
        members = np.flatnonzero(twins == number)
        outside = np.delete(dense[members], members, axis=1)
        assert (outside == outside[0]).all()


@settings(deadline=None, max_examples=50)
@given(st.lists(any_block(), min_size=1, max_size=6))
def test_encoding_is_the_lowest_eigenvectors(blocks: list[Block]) -> None:
    encoding = laplacian_encoding(NODES, blocks).double().numpy()
    adjacency = _dense(blocks, NODES)
    degree = adjacency.sum(axis=1)
    scale = np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0)
    laplacian = np.eye(NODES) - scale[:, None] * adjacency * scale
    values = np.linalg.eigvalsh(laplacian)
    np.testing.assert_allclose(encoding.T @ encoding, np.eye(8), atol=1e-5)
    own = (encoding * (laplacian @ encoding)).sum(axis=0)
    np.testing.assert_allclose(laplacian @ encoding, encoding * own, atol=1e-5)
    np.testing.assert_allclose(own, values[1:9], atol=1e-5)


def test_lanczos_finds_equal_eigenvalues_as_often_as_they_occur() -> None:
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.standard_normal((900, 900)))[0]
    spectrum = np.concatenate([[1.0, 0.9, 0.9, 0.9, 0.9, 0.7, 0.7], np.linspace(0.5, -0.5, 893)])
    matrix = (basis * spectrum) @ basis.T
    values, vectors = largest_eigenpairs(lambda x: matrix @ x, 900, 7)
    np.testing.assert_allclose(values, spectrum[:7], atol=1e-10)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-9)


def test_lanczos_stops_where_few_eigenvalues_are_different() -> None:
    """The Krylov space of a symmetric network is small: it is exhausted after a few products."""
    products = []

    def product(x: np.ndarray) -> np.ndarray:
        products.append(x.shape[1])
        return np.where(np.arange(2000)[:, None] < 30, 1.0, 0.25) * x

    values, _ = largest_eigenpairs(product, 2000, 9)
    np.testing.assert_allclose(values, 1.0, atol=1e-12)
    assert len(products) < 5


@pytest.mark.parametrize("topology", ["released", "exact"])
def test_encoding_is_repeatable_to_the_bit(topology: str) -> None:
    from nino.graphs import laplacian

    model = torch.nn.Sequential(torch.nn.Linear(784, 300), torch.nn.ReLU(), torch.nn.Linear(300, 10))
    first = neural_graph(model, topology).lpe()
    laplacian._encoding.cache_clear()
    graph = neural_graph(model, topology)
    assert torch.equal(first, graph.lpe())
    assert graph.lpe() is graph.lpe()
    np.testing.assert_allclose((first.T @ first).numpy(), np.eye(8), atol=1e-5)


def test_no_bit_depends_on_the_threads_of_blas() -> None:
    generator = np.random.default_rng(0)
    ends = [(int(a), int(b)) for a, b in generator.integers(0, 600, size=(900, 2)) if a != b]
    blocks = [
        Block(f"{a}-{b}-{i}", Nodes(a, 1), Nodes(b, 1), EdgeType.RESIDUAL, "dense") for i, (a, b) in enumerate(ends)
    ]
    found = []
    for threads in (1, 2):
        laplacian._encoding.cache_clear()
        with threadpool_limits(threads, "blas"):
            found.append(laplacian_encoding(600, blocks))
    assert torch.equal(*found)


def test_smaller_graphs_are_padded_with_zeros() -> None:
    encoding = neural_graph(torch.nn.Linear(2, 1, bias=False)).lpe()
    assert encoding.shape == (3, 8)
    assert torch.equal(encoding[:, 2:], torch.zeros(3, 6))
    assert bool((encoding[:, :2].norm(dim=0) - 1).abs().max() < 1e-6)


def test_large_graphs_agree_with_a_full_decomposition() -> None:
    """Deep networks, whose encoding Lanczos iterations find, against LAPACK."""
    model = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Linear(9, 9), torch.nn.GELU()) for _ in range(6)])

    class Residual(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(30, 30) for _ in range(18))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = x + layer(torch.relu(x))
            return x

    for network in (model, Residual()):
        graph = neural_graph(network)
        adjacency = BlockAdjacency(graph.num_nodes, block_ranges(graph.blocks)) @ np.eye(graph.num_nodes)
        scale = adjacency.sum(axis=1) ** -0.5
        laplacian = np.eye(graph.num_nodes) - scale[:, None] * adjacency * scale
        values = np.linalg.eigvalsh(laplacian)
        encoding = graph.lpe().double().numpy()
        np.testing.assert_allclose((encoding * (laplacian @ encoding)).sum(axis=0), values[1:9], atol=1e-6)
