"""Networks trained at once against the same networks trained alone."""

from __future__ import annotations

import copy
import io
import logging
from dataclasses import replace

import pytest
import torch

from nino.ensemble import Ensemble, members_at_once, obstacle
from nino.nowcasters import LineFit
from nino.optim import NiNo
from nino.specs import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec
from nino.tasks import Task, load_task
from nino.training import Training

SEEDS = (3, 4, 11)
VISION = TaskSpec(
    "digits",
    DataSpec("digits"),
    ModelSpec("convnet", {"channels": [4, 6, 6]}),
    RecipeSpec("adam", 1e-2, 100, 64),
    TargetSpec("accuracy", 90.0),
    EvaluationSpec(5, 5),
)
LANGUAGE = TaskSpec(
    "pydoc",
    DataSpec("pydoc", options={"block": 16}),
    ModelSpec("gpt2", {"layers": 1, "width": 8, "heads": 2}),
    RecipeSpec("adamw", 1e-2, 100, 8, 1e-1),
    TargetSpec("perplexity", 20.0),
    EvaluationSpec(5, 5),
)


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return {"convnet": load_task(VISION), "gpt2": load_task(LANGUAGE)}


def with_recipe(task: Task, **changes: object) -> Task:
    return Task(replace(task.spec, recipe=replace(task.spec.recipe, **changes)), task.data)


def together(task: Task, steps: int, seeds: tuple[int, ...] = SEEDS) -> tuple[Ensemble, torch.Tensor]:
    ensemble = Ensemble([Training(task, seed) for seed in seeds])
    return ensemble, torch.stack([ensemble.step() for _ in range(steps)], 1)


def alone(task: Task, steps: int, seeds: tuple[int, ...] = SEEDS) -> tuple[list[Training], torch.Tensor]:
    trainings = [Training(task, seed) for seed in seeds]
    return trainings, torch.stack([torch.stack([t.step() for _ in range(steps)]) for t in trainings])


def assert_same(ours: list[Training], theirs: list[Training], tolerance: float = 2e-4) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.steps == b.steps
        torch.testing.assert_close(a.flat_parameters(), b.flat_parameters(), rtol=1e-3, atol=tolerance)


@pytest.mark.parametrize("model", ["convnet", "gpt2"])
@pytest.mark.parametrize(
    "recipe",
    [
        {"optimizer": "adam", "lr": 1e-2, "weight_decay": 0.0},
        {"optimizer": "adamw", "lr": 1e-2, "weight_decay": 0.5},
        {"optimizer": "sgd", "lr": 5e-2, "weight_decay": 1e-3},
    ],
    ids=lambda recipe: recipe["optimizer"],
)
def test_each_member_equals_the_network_trained_alone(tasks, model, recipe) -> None:
    task = with_recipe(tasks[model], **recipe)
    before = torch.get_rng_state()
    ensemble, ours = together(task, 12)
    assert torch.equal(before, torch.get_rng_state())
    trainings, theirs = alone(task, 12)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert_same(ensemble.members, trainings)
    assert (ours[0] - ours[1]).abs().max() > 1e-3  # members differ by far more than the tolerance
    flat = torch.stack([member.flat_parameters() for member in ensemble.members])
    assert torch.equal(ensemble.flat_parameters(), flat)


def test_one_member_is_a_plain_training_to_the_bit(tasks) -> None:
    ensemble, ours = together(tasks["convnet"], 5, (3,))
    trainings, theirs = alone(tasks["convnet"], 5, (3,))
    assert torch.equal(ours, theirs)
    assert torch.equal(ensemble.flat_parameters()[0], trainings[0].flat_parameters())


@pytest.mark.parametrize("model", ["convnet", "gpt2"])
def test_a_members_state_is_that_of_a_plain_training(tasks, model) -> None:
    """Stop an ensemble; go on with one member alone, and with all of them in another ensemble."""
    task = tasks[model]
    ensemble, _ = together(task, 6)
    files = [io.BytesIO() for _ in SEEDS]
    for file, member in zip(files, ensemble.members, strict=True):
        torch.save(member.state_dict(), file)
    for _ in range(5):
        ensemble.step()

    def resumed() -> list[Training]:
        trainings = [Training(task, seed) for seed in SEEDS]
        for file, training in zip(files, trainings, strict=True):
            file.seek(0)
            training.load_state_dict(torch.load(file))
        return trainings

    by_themselves = resumed()
    for training in by_themselves:
        for _ in range(5):
            training.step()
    assert_same(ensemble.members, by_themselves)
    again = Ensemble(resumed())
    for _ in range(5):
        again.step()
    assert torch.equal(again.flat_parameters(), ensemble.flat_parameters())


def test_released_members_go_on_alone(tasks) -> None:
    ensemble, _ = together(tasks["convnet"], 4)
    stack = ensemble.flat_parameters()
    members = ensemble.release()
    members[0].step()
    assert torch.equal(members[1].flat_parameters(), stack[1])  # no storage is shared any more
    for member in members[1:]:
        member.step()
    assert_same(members, alone(tasks["convnet"], 5)[0])


def test_a_member_that_diverges_leaves_the_others_alone(tasks) -> None:
    ensemble = Ensemble([Training(tasks["convnet"], seed) for seed in SEEDS])
    with torch.no_grad():
        ensemble.members[1].parameters[0].fill_(torch.nan)
    losses = torch.stack([ensemble.step() for _ in range(6)])
    assert losses[:, 1].isnan().all() and losses[:, [0, 2]].isfinite().all()
    trainings, _ = alone(tasks["convnet"], 6)
    assert_same([ensemble.members[0], ensemble.members[2]], [trainings[0], trainings[2]])


def test_members_have_nowcasts_of_their_own(tasks) -> None:
    def start() -> list[Training]:
        def wrap(base, model):
            return NiNo(base, model=model, nowcaster=LineFit(), period=10, max_train_steps=20, max_horizon=3)

        return [Training(tasks["convnet"], seed, wrap) for seed in SEEDS]

    ensemble, trainings = Ensemble(start()), start()
    for step in range(1, 14):
        if step == 10:
            with pytest.raises(RuntimeError, match="a member's step is a nowcast"):
                ensemble.step()
            for member in ensemble.members:
                assert member.step() is None
        else:
            ensemble.step()
        for training in trainings:
            training.step()
    assert_same(ensemble.members, trainings, 1e-3)
    for ours, theirs in zip(ensemble.members, trainings, strict=True):
        assert ours.optimizer.counts == theirs.optimizer.counts == {"kept": 1, "put back": 0, "left out": 0}
        assert ours.optimizer.last_nowcast.norm == pytest.approx(theirs.optimizer.last_nowcast.norm, rel=1e-3)


def test_what_cannot_be_stacked(tasks, caplog: pytest.LogCaptureFixture) -> None:
    dropout = copy.deepcopy(LANGUAGE.model.options) | {"dropout": 0.1}
    task = Task(replace(LANGUAGE, model=ModelSpec("gpt2", dropout)), tasks["gpt2"].data)
    assert "its dropout (0.1)" in str(obstacle(task))
    muon = with_recipe(tasks["gpt2"], optimizer="muon")
    assert "muon may treat a matrix as a whole" in str(obstacle(muon))
    assert obstacle(tasks["gpt2"]) is None and obstacle(tasks["convnet"]) is None
    with pytest.raises(ValueError, match=r"networks of 'pydoc' cannot be trained at once: its dropout"):
        Ensemble([Training(task, seed) for seed in SEEDS])
    with caplog.at_level(logging.WARNING):
        assert members_at_once(task, 4, 8) == 1
    assert "one at a time instead of 4 at once: its dropout" in caplog.text


def test_members_must_go_together(tasks) -> None:
    ahead = Training(tasks["convnet"], 1)
    ahead.step()
    for others in (Training(tasks["convnet"], 2), Training(tasks["gpt2"], 2)):
        with pytest.raises(ValueError, match="of one task and after the same number of steps"):
            Ensemble([ahead, others])
    with pytest.raises(ValueError, match="at least one"):
        Ensemble([])


def test_how_many_at_once(tasks) -> None:
    assert [members_at_once(tasks["convnet"], asked, 5) for asked in (None, 1, 3, 50)] == [1, 1, 3, 5]
