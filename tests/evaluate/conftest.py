"""Two embedded tasks, small enough for a run to take a second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nino.specs import (
    DataSpec,
    EvaluationSpec,
    ModelSpec,
    RecipeSpec,
    ScheduleSpec,
    TargetSpec,
    TaskSpec,
)
from nino.tasks import Task, load_task

STEPS, PERIOD = 40, 20

DIGITS = TaskSpec(
    "digits-4",
    DataSpec("digits"),
    ModelSpec("convnet", {"channels": [4, 4, 4]}),
    RecipeSpec("adam", 1e-2, STEPS, 64),
    TargetSpec("accuracy", 20.0),
    EvaluationSpec(test_every=1, validation_every=10),
)
PYDOC = TaskSpec(
    "pydoc-1-8",
    DataSpec("pydoc", options={"block": 16}),
    ModelSpec("gpt2", {"layers": 1, "width": 8, "heads": 2}),
    RecipeSpec("adamw", 1e-2, STEPS, 16, weight_decay=1e-2),
    TargetSpec("perplexity", 150.0),
    EvaluationSpec(test_every=10, validation_every=20, at_nowcast="before"),
)


@pytest.fixture(scope="session")
def digits() -> Task:
    return load_task(DIGITS)


@pytest.fixture(scope="session")
def pydoc() -> Task:
    return load_task(PYDOC)


@pytest.fixture
def schedule() -> ScheduleSpec:
    """States every 4 steps, nowcasts at 20 and 40, 3 states and 1 state ahead."""
    return ScheduleSpec(period=PERIOD, context=5, max_horizon=3)


@pytest.fixture
def variant(digits: Task):
    """The digits task with parts of its spec replaced, e.g. ``variant(recipe={"lr": 1.0})``."""

    def make(**parts) -> Task:
        changed = {name: replace(getattr(DIGITS, name), **fields) for name, fields in parts.items()}
        return Task(replace(DIGITS, **changed), digits.data)

    return make
