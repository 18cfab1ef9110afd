"""Trajectories of a few real, small networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from nino.graphs import NeuralGraph, neural_graph
from nino.specs import (
    DataSpec,
    EvaluationSpec,
    MetatrainSpec,
    ModelSpec,
    RecipeSpec,
    TargetSpec,
    TaskSpec,
    TrajectorySpec,
)
from nino.tasks import load_task
from nino.trajectories import TrajectoryReader
from nino.trajectories.collect import collect_shard

DIGITS = TaskSpec(
    id="digits-4",
    data=DataSpec("digits"),
    model=ModelSpec("convnet", {"channels": [4, 4, 4]}),
    recipe=RecipeSpec(optimizer="adam", lr=3e-3, steps=160, batch_size=64),
    target=TargetSpec("accuracy", 90.0),
    evaluation=EvaluationSpec(test_every=1, validation_every=10),
)
PYDOC = TaskSpec(
    id="pydoc-1-8",
    data=DataSpec("pydoc", options={"block": 16}),
    model=ModelSpec("gpt2", {"layers": 1, "width": 8, "heads": 2}),
    recipe=RecipeSpec(optimizer="adamw", lr=1e-3, steps=20, batch_size=4, weight_decay=0.01),
    target=TargetSpec("perplexity", 10.0),
    evaluation=EvaluationSpec(test_every=10, validation_every=10),
)

Source = tuple[NeuralGraph, TrajectoryReader]


def _collect(task_spec: TaskSpec, spec: TrajectorySpec, path: Path) -> Source:
    task = load_task(task_spec)
    collect_shard(task, spec, 0, path, evaluations=2, progress=False)
    return neural_graph(task.build_model(0)), TrajectoryReader(path)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Six ConvNets, 81 states each, two steps apart."""
    spec = TrajectorySpec(models=6, models_per_shard=6, state_every=2)
    return _collect(DIGITS, spec, tmp_path_factory.mktemp("digits") / "shard=0.h5")


@pytest.fixture(scope="session")
def pydoc(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Three GPT-2s of 256 words, 11 states each, two steps apart."""
    spec = TrajectorySpec(models=3, models_per_shard=3, state_every=2)
    return _collect(PYDOC, spec, tmp_path_factory.mktemp("pydoc") / "shard=0.h5")


@pytest.fixture(scope="session")
def recipe() -> MetatrainSpec:
    """Small enough for both tasks."""
    return MetatrainSpec(
        kind="nino",
        seed=1,
        iterations=12,
        model={"hidden": 16},
        trajectories_per_batch=3,
        windows_per_trajectory=2,
        window_stride=2,
        max_horizon=6,
        words=40,
        validate_every=4,
        checkpoint_every=4,
    )
