"""Shapes in signatures are checked in tests, and cost nothing outside of them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

from nino.graphs import neural_graph, window
from nino.nowcasters.network import Network
from nino.nowcasters.simple import LineFit


def test_a_wrong_shape_is_caught() -> None:
    graph = neural_graph(nn.Linear(3, 2))
    with pytest.raises(TypeCheckError, match="states"):
        LineFit().update(torch.zeros(8), 1, graph.parameters[0])
    net = Network(hidden=4)
    with pytest.raises(TypeCheckError, match="nodes"):
        net.gnn(torch.zeros(3, 4), torch.zeros(2, 5, dtype=torch.long), torch.zeros(6, 4))


def test_a_wrong_dtype_or_type_is_caught() -> None:
    graph = neural_graph(nn.Linear(3, 2))
    with pytest.raises(TypeCheckError, match="rows"):
        graph.sample_words(torch.zeros(2))
    with pytest.raises(TypeCheckError, match="block"):
        window(torch.zeros(8), "weight")


def test_outside_of_tests_nothing_is_checked_and_no_checker_imported() -> None:
    code = """
import sys, torch
from nino.graphs import neural_graph
from nino.nowcasters.simple import LineFit
graph = neural_graph(torch.nn.Linear(3, 2))
assert LineFit().update(torch.zeros(8, 5), 1, "not a parameter").shape == (8,)
assert "beartype" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
