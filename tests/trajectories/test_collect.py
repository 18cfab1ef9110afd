"""Collecting real, small networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nino.specs import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec, TrajectorySpec
from nino.tasks import Task, build_optimizer, load_task
from nino.trajectories import TrajectoryReader, join_shards
from nino.trajectories.collect import collect_shard
from nino.trajectories.datasheet import datasheet

SPEC = TrajectorySpec(models=3, models_per_shard=2, state_every=4, first_seed=7)


@pytest.fixture(scope="module")
def digits() -> Task:
    return load_task(
        TaskSpec(
            id="digits-4",
            data=DataSpec("digits"),
            model=ModelSpec("convnet", {"channels": [4, 4, 4]}),
            recipe=RecipeSpec(optimizer="adam", lr=3e-3, steps=42, batch_size=32),
            target=TargetSpec("accuracy", 90.0),
            evaluation=EvaluationSpec(test_every=1, validation_every=10),
        )
    )


def _plain_states(task: Task, seed: int, steps: int, every: int) -> tuple[np.ndarray, list[float]]:
    """The obvious loop."""
    model = task.build_model(seed)
    optimizer = build_optimizer(task.spec.recipe, model)
    batches = task.batches(seed)
    states, losses = [], []
    for step in range(steps + 1):
        loss = task.loss(model, next(batches))
        if step % every == 0:
            states.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach().half().numpy())
            losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return np.stack(states), losses


def test_states_are_those_of_plain_training(digits: Task, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    summary = collect_shard(digits, SPEC, 0, tmp_path / "0.h5", progress=False)
    assert torch.equal(before, torch.random.get_rng_state())
    reader = TrajectoryReader(tmp_path / "0.h5")
    assert reader.steps.tolist() == list(range(0, 41, 4))
    assert reader.seeds.tolist() == summary.seeds == [7, 8]
    assert summary.states == 22 and summary.diverged == []
    for trajectory, seed in enumerate([7, 8]):
        states, losses = _plain_states(digits, seed, 40, 4)
        np.testing.assert_array_equal(reader.window(trajectory, 0, 1, 11), states)
        np.testing.assert_array_equal(reader.metrics["train_loss"][trajectory], np.float32(losses))
        assert reader.metrics["test"][trajectory, 0] == np.float32(digits.evaluate(digits.build_model(seed), "test"))
    names = dict(digits.build_model(7).named_parameters())
    assert {p.name: p.shape for p in reader.parameters} == {name: tuple(p.shape) for name, p in names.items()}
    assert reader.task == digits.spec
    assert reader.header.data_checksum == digits.data_checksum


def test_metrics_at_a_coarser_spacing(digits: Task, tmp_path: Path) -> None:
    collect_shard(digits, SPEC, 1, tmp_path / "1.h5", evaluations=3, progress=False)
    metrics = TrajectoryReader(tmp_path / "1.h5").metrics
    for name in ("validation", "test"):
        assert np.flatnonzero(~np.isnan(metrics[name][0])).tolist() == [0, 5, 10]
    assert not np.isnan(metrics["train_loss"]).any()


def test_same_seed_same_bytes(digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nino.trajectories.collect.code_version", lambda: "c0ffee")  # a commit may come in between
    for name in ("a", "b"):
        collect_shard(digits, SPEC, 1, tmp_path / f"{name}.h5", progress=False)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_diverging_network_is_data(digits: Task, tmp_path: Path) -> None:
    wild = Task(replace(digits.spec, recipe=replace(digits.spec.recipe, optimizer="sgd", lr=1e4)), digits.data)
    summary = collect_shard(wild, SPEC, 0, tmp_path / "0.h5", progress=False)
    assert summary.diverged == [7, 8]
    reader = TrajectoryReader(tmp_path / "0.h5")
    assert reader.diverged.all() and (reader.valid >= 1).all() and (reader.valid < 11).all()
    assert np.isfinite(reader.window(0, 0, 1, int(reader.valid[0]))).all()
    assert reader.verify(progress=False) == []
    assert "diverged networks | 7, 8" in datasheet(tmp_path / "0.h5")


def test_networks_trained_at_once_are_those_trained_alone(
    digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nino.trajectories.store.BUFFER_BYTES", 5000)  # a few states wait at a time
    spec = replace(SPEC, models=3, models_per_shard=3)
    paths = [tmp_path / "one.h5", tmp_path / "two.h5"]
    for path, at_once in zip(paths, (1, 2), strict=True):  # of three networks two, then the third
        summary = collect_shard(digits, replace(spec, members_per_job=at_once), 0, path, progress=False)
        assert summary.states == 33 and summary.diverged == []
    one, two = (TrajectoryReader(path) for path in paths)
    assert one.seeds.tolist() == two.seeds.tolist() == [7, 8, 9]
    for i in range(3):
        np.testing.assert_allclose(one.window(i, 0, 1, 11), two.window(i, 0, 1, 11), atol=2e-3)
    np.testing.assert_allclose(one.metrics["train_loss"], two.metrics["train_loss"], rtol=1e-3)
    assert np.array_equal(np.isnan(one.metrics["test"]), np.isnan(two.metrics["test"]))
    assert two.verify(progress=False) == []


def test_shards_of_other_group_sizes_belong_together(digits: Task, tmp_path: Path) -> None:
    for shard, at_once in enumerate((2, 1)):
        spec = replace(SPEC, members_per_job=at_once)
        collect_shard(digits, spec, shard, tmp_path / f"{shard}.h5", progress=False)
    join_shards([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "all.h5", progress=False)
    assert TrajectoryReader(tmp_path / "all.h5").seeds.tolist() == [7, 8, 9]


def test_a_network_that_diverges_beside_others(digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Task.build_model

    def poisoned(self: Task, seed: int) -> torch.nn.Module:
        model = build(self, seed)
        if seed == 8:
            torch.nn.init.constant_(next(model.parameters()), 1e5)  # beyond float16 from the start of step 0
        return model

    monkeypatch.setattr(Task, "build_model", poisoned)
    spec = replace(SPEC, models=3, models_per_shard=3, members_per_job=3)
    summary = collect_shard(digits, spec, 0, tmp_path / "0.h5", progress=False)
    reader = TrajectoryReader(tmp_path / "0.h5")
    assert summary.diverged == [8] and reader.valid.tolist() == [11, 0, 11]
    states, _ = _plain_states(digits, 9, 40, 4)
    np.testing.assert_allclose(reader.window(2, 0, 1, 11), states, atol=2e-3)


def test_bad_arguments(digits: Task, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`shard` \(=2\) must lie in 0..1"):
        collect_shard(digits, SPEC, 2, tmp_path / "x.h5")
    with pytest.raises(ValueError, match=r"`state_every` \(=100\) must not exceed the 42 steps"):
        collect_shard(digits, replace(SPEC, state_every=100), 0, tmp_path / "x.h5")
    (tmp_path / "done.h5").write_bytes(b"finished")
    with pytest.raises(FileExistsError, match="done.h5 is finished already"):
        collect_shard(digits, SPEC, 0, tmp_path / "done.h5")
    assert (tmp_path / "done.h5").read_bytes() == b"finished"
    assert [path.name for path in tmp_path.iterdir()] == ["done.h5"]


def test_datasheet(digits: Task, tmp_path: Path) -> None:
    shards = [tmp_path / f"{i}.h5" for i in range(2)]
    for i, path in enumerate(shards):
        collect_shard(digits, SPEC, i, path, progress=False)
    join_shards(shards, tmp_path / "digits-4.h5", progress=False)
    text = datasheet(tmp_path / "digits-4.h5")
    assert text == datasheet(tmp_path / "digits-4.h5")
    reader = TrajectoryReader(tmp_path / "digits-4.h5")
    assert "# Trajectories of `digits-4`" in text
    assert "| networks | 3 |" in text
    assert "| seeds | 7..9 |" in text
    assert "11, every 4 steps, steps 0..40" in text
    assert f"{reader.num_parameters:,}, float16" in text
    losses = reader.metrics["train_loss"]
    assert f"{losses.min():.4g} .. {losses.max():.4g}" in text
    assert digits.data_checksum in text and '"lr": 0.003' in text
