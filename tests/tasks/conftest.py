"""Specs of small tasks, and a small tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nino.specs import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec
from nino.tasks import Task, load_task

MakeSpec = Callable[..., TaskSpec]


def vision_spec(data: DataSpec | None = None, *, batch_size: int = 128, **recipe: Any) -> TaskSpec:
    values = {"optimizer": "adam", "lr": 6e-3, "steps": 100} | recipe
    return TaskSpec(
        "vision",
        data or DataSpec("digits"),
        ModelSpec("convnet", {"channels": [4, 6]}),
        RecipeSpec(batch_size=batch_size, **values),
        TargetSpec("accuracy", 90.0),
        EvaluationSpec(5, 10),
    )


def language_spec(
    data: DataSpec | None = None, *, batch_size: int = 8, dropout: float = 0.0, **recipe: Any
) -> TaskSpec:
    values = {"optimizer": "adamw", "lr": 5e-3, "steps": 100, "weight_decay": 1e-2} | recipe
    return TaskSpec(
        "language",
        data or DataSpec("pydoc", options={"block": 32}),
        ModelSpec("gpt2", {"layers": 1, "width": 8, "heads": 2, "dropout": dropout}),
        RecipeSpec(batch_size=batch_size, **values),
        TargetSpec("perplexity", 20.0),
        EvaluationSpec(50, 50),
    )


@pytest.fixture(scope="session")
def make_vision() -> MakeSpec:
    return vision_spec


@pytest.fixture(scope="session")
def make_language() -> MakeSpec:
    return language_spec


@pytest.fixture(scope="session")
def digits() -> Task:
    return load_task(vision_spec())


@pytest.fixture(scope="session")
def pydoc() -> Task:
    return load_task(language_spec())


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2's files with a vocabulary of bytes and one merge."""
    from tokenizers.pre_tokenizers import ByteLevel

    folder = tmp_path_factory.mktemp("tokenizer")
    symbols = [*sorted(ByteLevel.alphabet()), "ab", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({symbol: i for i, symbol in enumerate(symbols)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\na b\n", encoding="utf-8")
    return folder
