"""Shards of made-up networks, written by the real writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nino.specs import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec, TrajectorySpec
from nino.trajectories import Header, shard_seeds, writing_shard
from nino.trajectories.format import flat_order

STATES, PARAMETERS = 6, 20


@pytest.fixture
def header() -> Header:
    """Of five networks of 20 parameters, two a shard, six states each."""
    task = TaskSpec(
        id="made-up",
        data=DataSpec("digits"),
        model=ModelSpec("convnet", {"channels": [2, 2, 2]}),
        recipe=RecipeSpec(optimizer="adam", lr=1e-3, steps=50, batch_size=4),
        target=TargetSpec("accuracy", 90.0),
        evaluation=EvaluationSpec(test_every=1, validation_every=10),
    )
    return Header(
        task=task,
        trajectories=TrajectorySpec(models=5, models_per_shard=2, state_every=10, first_seed=100),
        parameters=flat_order([("weight", (3, 5)), ("bias", (5,))]),
        data_checksum="ab" * 32,
        versions={"torch": "2", "nino": "0"},
        code_version="c0ffee",
    )


def state(seed: int, index: int) -> np.ndarray:
    """A state that no other network or step has."""
    return np.random.default_rng([seed, index]).normal(size=PARAMETERS).astype(np.float16)


@pytest.fixture
def make_shard(tmp_path: Path, header: Header) -> Callable[..., Path]:
    """Writes shard ``i`` to a path; ``changes`` replace fields of the header."""

    def make(shard: int, path: Path | None = None, **changes: object) -> Path:
        path = path or tmp_path / "shards" / f"shard={shard}.h5"
        seeds = shard_seeds(header.trajectories, shard)
        with writing_shard(path, replace(header, **changes), seeds) as writer:
            for trajectory, seed in enumerate(seeds):
                for index in range(STATES):
                    assert writer.write(trajectory, state(seed, index), {"train_loss": 1 / (1 + index)})
        return path

    return make


@pytest.fixture
def expected() -> Callable[[int], np.ndarray]:
    """All states of a seed, (S, P)."""
    return lambda seed: np.stack([state(seed, index) for index in range(STATES)])
