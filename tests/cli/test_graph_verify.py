"""`nino graph MODEL --verify` renumbers a model's neurons and compares outputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nino.cli.app import app

MODEL = """
import torch
from torch import nn

def perceptron():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
"""


def test_a_model_is_recorded_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny_model_to_verify.py").write_text(MODEL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["graph", "tiny_model_to_verify:perceptron", "--verify"])
    assert result.exit_code == 0, result.output
    assert "100.0% of 58 parameters on edges" in result.output
    assert "verified: 1 renumberings" in result.output
