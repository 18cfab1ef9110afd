"""Declarations that do not fit are refused."""

from __future__ import annotations

import pytest
import torch

from nino.graphs import EdgeType, GraphBuilder, Neurons
from nino.graphs.weights import scrambled_rows


def builder() -> GraphBuilder:
    return GraphBuilder([("weight", (3, 2)), ("bias", (3,)), ("kernel", (3, 2, 3, 3))])


def test_groups_are_numbered_with_satellites_before_them() -> None:
    b = builder()
    x, y = b.group("x", 2), b.group("y", 3)
    b.dense(x, y, "weight")
    b.dense(x, y, "kernel")
    b.bias(y, "bias")
    graph = b.build()
    assert [(name, nodes.start) for name, nodes in graph.groups.items()] == [("x", 0), ("bias", 2), ("y", 3)]
    assert graph.num_nodes == 6


def test_windows_are_slices_and_transposes_of_parameters() -> None:
    b = builder()
    x, y = b.group("x", 2), b.group("y", 3)
    b.dense(y, x, b.weight("weight").T)
    b.dense(x[:1], y[1:], b.weight("kernel")[1:, :1])
    b.dense(x[:1], y[:1], b.weight("kernel")[:1, :1])
    b.dense(x[1:], y, b.weight("kernel")[:, 1:])
    b.bias(y, "bias")
    ends = b.build().endpoints()
    assert ends[:6].tolist() == [[3, 0], [3, 1], [4, 0], [4, 1], [5, 0], [5, 1]]
    assert ends[9:].view(3, 2, 9, 2)[2, 1, 4].tolist() == [1, 5]


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda b, x, y: b.group("x", 2), "'x' is declared twice"),
        (lambda b, x, y: b.group("z", 0), r"`size` \(=0\) must be at least 1"),
        (lambda b, x, y: b.weight("wight"), "no parameter 'wight': the model has parameters 'weight', 'bias'"),
        (lambda b, x, y: b.dense(y, x, "weight"), r"'weight' of shape \(3, 2\) cannot join 3 sources .* to 2 targets"),
        (lambda b, x, y: b.diagonal(x, y, "bias", EdgeType.NORM), "one by one"),
        (lambda b, x, y: b.dense(x, y, torch.zeros(3, 2)), "no window on a parameter"),
        (lambda b, x, y: b.dense(x, y, b.weight("kernel").transpose(2, 3)), "not contiguous"),
        (lambda b, x, y: b.residual(x, y), "as many sources"),
        (lambda b, x, y: y.split(2), "do not split"),
        (lambda b, x, y: b.dense(x, y, "weight"), "parameters 'bias', 'kernel' lie on no edge"),
        (lambda b, x, y: b.dense(x, y[:1], b.weight("weight")[:1]), "'weight' has 6 elements, but 2 lie on edges"),
        (lambda b, x, y: (b.dense(x, y, "weight"), b.dense(x, y, "weight")), "has 6 elements, but 12 lie on edges"),
        (lambda b, x, y: b.embedding(y, x, b.weight("weight").T, EdgeType.BIAS, scrambled=True), "has shape"),
    ],
)
def test_declarations_that_do_not_fit(declare: object, message: str) -> None:
    b = builder()
    x, y = b.group("x", 2), b.group("y", 3)
    with pytest.raises(ValueError, match=message):
        declare(b, x, y)
        b.build()


def test_ranges_of_neurons_have_step_one() -> None:
    with pytest.raises(ValueError, match=r"`step` \(=2\)"):
        Neurons("x", 0, 4)[::2]


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (6, 3), (1, 5), (5, 1), (4, 4), (53, 24)])
def test_scrambled_tables_lie_column_by_column_on_edges_counted_row_by_row(shape: tuple[int, int]) -> None:
    rows, d = shape
    table = torch.arange(rows * d).view(rows, d)
    edges = torch.full((rows, d), -1)
    for source, target, part in scrambled_rows(table):
        assert bool((edges[source, target] == -1).all())
        edges[source, target] = part
    assert torch.equal(edges.reshape(-1), table.T.reshape(-1))
