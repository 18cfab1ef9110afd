"""The benchmarks of evaluation run, and measure what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_check_is_measured_beside_a_step_and_a_full_evaluation(variant) -> None:
    task = variant(target={"value": 95.0}, recipe={"lr": 0.03})
    row = script("target_check").measure(task, seed=1000, below=60.0, steps=100, checks=5)
    assert set(row["milliseconds"]) == {"step", "full", "bets", "counting"}
    assert all(value > 0 for value in row["milliseconds"].values())
    assert 0 < row["images"]["bets"] <= row["test_images"] and row["metric"]["max"] < 95


def test_variants_of_a_task_change_what_they_say_and_nothing_else(digits) -> None:
    variants = script("data_variants")
    halves, everything = (make(digits.spec, Path(), digits) for make in (variants.halves, variants.trained_on_all))
    images, labels = halves.data.train.slice(0, 50)
    plain, same = digits.data.train.slice(0, 50)
    assert -1 <= images.min() and images.max() <= 1 and not torch.equal(images, plain) and torch.equal(labels, same)
    assert len(everything.data.train) == len(digits.data.train) + len(digits.data.validation)
    assert torch.equal(everything.data.train.slice(0, 50)[0], plain)
