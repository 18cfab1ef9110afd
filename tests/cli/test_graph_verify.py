"""`nino graph MODEL --verify` renumbers a model's neurons and compares outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from nino.cli.app import app

MODEL = """
import torch
from torch import nn

def perceptron():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x, y):
        return self.b(torch.relu(self.a(x + y)))

def with_example():
    return Two(), (torch.randn(3, 4), torch.randn(3, 4))

class Declared(nn.Sequential):
    pass

def declare(b, model):  # as if the neurons were not interchangeable, and the inputs were
    x, h, y = b.group("x", 4), b.group("h", 8, fixed=True), b.group("y", 2, fixed=True)
    b.linear(x, h, "0")
    b.linear(h, y, "2")

def declared():
    from nino.graphs import register_graph

    register_graph(Declared, declare)
    return Declared(*perceptron())
"""


@pytest.fixture
def verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    (tmp_path / "tiny_model_to_verify.py").write_text(MODEL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda name, *options: CliRunner().invoke(
        app, ["graph", f"tiny_model_to_verify:{name}", "--verify", *options]
    )


def test_a_model_is_recorded_and_verified(verify: Callable[..., Result]) -> None:
    result = verify("perceptron")
    assert result.exit_code == 0, result.output
    assert "neural graph (exact, recorded on " in result.output and "100.0% of 58 parameters on edges" in result.output
    assert "verified: 1 renumberings" in result.output


def test_the_topology_that_is_asked_for_is_verified(verify: Callable[..., Result]) -> None:
    result = verify("perceptron", "--topology", "released")
    assert result.exit_code == 0 and "neural graph (released, traced)" in result.output, result.output


def test_the_example_that_the_function_gives_is_used(verify: Callable[..., Result]) -> None:
    result = verify("with_example")
    assert result.exit_code == 0 and "verified: 1 renumberings" in result.output, result.output


def test_what_the_user_declares_is_verified(verify: Callable[..., Result]) -> None:
    result = verify("declared")
    assert result.exit_code == 1 and "not exact: 1 of 1 renumberings" in result.output, result.output
