"""Recorded graphs: renumbering what they call interchangeable never changes the function."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nino.graphs import neural_graph
from nino.graphs.symmetry.atoms import renumberings
from tests.graphs.recorded.networks import Case, exact_cases

CASES = exact_cases()
#: Cases in which a constant, or positions, tell all hidden neurons apart.
NOTHING_FREE = {"convolution over neurons", "pooled over neurons", "buffer added", "pixel shuffle", "pruned"}


@pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())
def test_renumbering_keeps_the_function(make: Callable[[], Case], request: pytest.FixtureRequest) -> None:
    torch.manual_seed(0)
    model, example = make()
    graph = neural_graph(model, "exact", example=example)
    name = request.node.callspec.id
    unused = {"two towers": ("b.weight", "b.bias"), "patches by unfold": ("a.weight", "a.bias")}
    assert graph.carried == unused.get(name, ())
    if name not in ("other key and value sizes", "encoder and decoder", "patches by unfold"):
        assert bool(renumberings(graph)) == (name not in NOTHING_FREE)
    checked = graph.verify(model, example)
    assert checked, str(checked)


@pytest.mark.parametrize("name", ["attention by hand", "lstm", "weights merged from two", "channels dealt out"])
def test_every_weight_lies_on_one_edge(name: str) -> None:
    model, example = CASES[name]()
    graph = neural_graph(model, "exact", example=example)
    states = torch.randn(graph.num_parameters, 2)
    values = graph.edge_features(states).view(graph.num_edges, graph.features, 2)
    assert torch.equal(graph.parameters_from_edges(values), states)


def test_verify_names_the_groups_that_change_the_function_and_fixes_them() -> None:
    from dataclasses import replace

    model, example = CASES["buffer added"]()
    graph = neural_graph(model, "exact", example=example)
    wrong = replace(graph, fixed=graph.fixed - {"a"}, _cache={})
    checked = wrong.verify(model, example, fix=True)
    assert not checked
    assert [names[0] for names in checked.changing] == ["a"]
    assert checked.difference < 1e-9
    assert checked.graph.verify(model, example)
    assert "a" in str(checked)
    with pytest.raises(ValueError, match="4 parameters, the model 2"):
        wrong.verify(torch.nn.Linear(2, 2), example)


def test_sizes_do_not_matter() -> None:
    """As many tokens as channels, batch as neurons: the same graph as with other sizes."""
    model, _ = CASES["attention by hand"]()
    graphs = [neural_graph(model, "exact", example=torch.randn(b, t, 6)) for b, t in ((8, 8), (2, 5), (6, 6), (1, 3))]
    assert len({tuple(g.blocks) for g in graphs}) == 1


class OnlySingle(nn.Sequential):
    """As a network with an operation that has no kernel for float64."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype == torch.float64:
            raise RuntimeError('"some_kernel" not implemented for double')
        return super().forward(x)


def test_what_has_no_kernel_for_float64_is_compared_in_float32() -> None:
    torch.manual_seed(0)
    model, example = OnlySingle(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), torch.randn(4, 3)
    checked = neural_graph(model, "exact", example=example).verify(model, example)
    assert checked and checked.precision is torch.float32 and str(checked).endswith("in float32)")
    plain = nn.Sequential(*model)
    assert str(neural_graph(plain, "exact", example=example).verify(plain, example)).endswith("in float64)")
