"""The measuring scripts run, and the wrapper costs a step next to nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


def script(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("unchecked")
def test_a_step_that_saves_nothing_costs_microseconds():
    assert script("optimizer_overhead").wrapper_microseconds(turns=5, steps=300) < 10


def test_overhead_is_measured_on_equal_trainings():
    overhead = script("optimizer_overhead")
    bare, wrapped = (overhead.Run("mlp", wrapped, "cpu", "auto") for wrapped in (False, True))
    for run in (bare, wrapped):
        assert run.steps(1, 20, True) > 0 and run.steps(195, 10, False) > 0
    assert len(wrapped.opt.history) == 1
    for a, b in zip(bare.model.parameters(), wrapped.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_cost_of_a_nowcast_is_measured():
    row = script("nowcast_cost").measure("convnet", None, "cpu", 4)
    assert row["parameters"] == 14_378 and row["history_bytes"] == 5 * 4 * 14_378
    assert row["nowcast_seconds"] > 0 and row["break_even_steps"] > 0 and row["nowcast_bytes"] >= 0
