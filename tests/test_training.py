import io
from dataclasses import replace

import pytest
import torch

from nino.specs import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec
from nino.tasks import load_task
from nino.training import Training

VISION = TaskSpec(
    "digits",
    DataSpec("digits"),
    ModelSpec("convnet", {"channels": [4, 6]}),
    RecipeSpec("adam", 1e-2, 100, 128),
    TargetSpec("accuracy", 90.0),
    EvaluationSpec(5, 5),
)
LANGUAGE = TaskSpec(
    "pydoc",
    DataSpec("pydoc", options={"block": 32}),
    ModelSpec("gpt2", {"layers": 1, "width": 8, "heads": 2, "dropout": 0.2}),
    RecipeSpec("adamw", 1e-2, 100, 8, 1e-2),
    TargetSpec("perplexity", 20.0),
    EvaluationSpec(5, 5),
)


@pytest.fixture(scope="module")
def tasks():
    return {"vision": load_task(VISION), "language": load_task(LANGUAGE)}


@pytest.fixture(params=["vision", "language"])
def task(request, tasks):
    return tasks[request.param]


def steps(training: Training, count: int) -> torch.Tensor:
    return torch.stack([training.step() for _ in range(count)])


def test_the_loss_falls_and_the_metric_improves(task):
    training = Training(task, seed=1)
    before = training.evaluate("test")
    losses = steps(training, 80)
    assert losses[-10:].mean() < 0.8 * losses[:10].mean()
    after = training.evaluate("test")
    assert after > before + 20 if task.spec.target.higher_is_better else after < before / 3


def test_the_same_seed_is_the_same_training(task):
    torch.manual_seed(1)
    first = Training(task, seed=3)
    losses = steps(first, 6)
    torch.manual_seed(2)
    second = Training(task, seed=3)
    assert torch.equal(steps(second, 6), losses)
    assert torch.equal(first.flat_parameters(), second.flat_parameters())
    assert not torch.equal(steps(Training(task, seed=4), 6), losses)


def test_the_global_generator_is_left_alone(task):
    before = torch.get_rng_state()
    steps(Training(task, seed=0), 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_resuming_is_not_stopping(task, optimizer):
    recipe = replace(task.spec.recipe, optimizer=optimizer)
    task = type(task)(replace(task.spec, recipe=recipe), task.data)
    whole = Training(task, seed=5)
    steps(whole, 4)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    losses = steps(whole, 11)
    file.seek(0)
    resumed = Training(task, seed=5)
    resumed.load_state_dict(torch.load(file))
    assert torch.equal(steps(resumed, 11), losses)
    assert torch.equal(resumed.flat_parameters(), whole.flat_parameters())
    assert resumed.steps == whole.steps == 15


def test_a_loaded_state_is_a_copy(task):
    one, other = Training(task, seed=5), Training(task, seed=5)
    steps(one, 2)
    other.load_state_dict(one.state_dict())
    expected = steps(one, 3)
    assert torch.equal(steps(other, 3), expected)


def test_a_state_of_another_seed_is_refused(task):
    state = Training(task, seed=1).state_dict()
    with pytest.raises(ValueError, match="`state` is of seed 1, but this training has seed 2"):
        Training(task, seed=2).load_state_dict(state)


def test_the_next_batch_is_the_one_the_step_uses(task):
    training = Training(task, seed=2)
    training.step()
    batches = task.batches(2, start_step=1)
    for _ in range(3):
        expected = next(batches)
        assert all(torch.equal(a, b) for a, b in zip(training.next_batch(), expected, strict=True))
        training.step()


def test_flat_parameters_are_a_copy_in_order(task):
    training = Training(task, seed=2)
    flat = training.flat_parameters()
    assert torch.equal(flat, torch.cat([p.detach().flatten() for _, p in training.model.named_parameters()]))
    training.step()
    assert not torch.equal(training.flat_parameters(), flat)


class EveryThird(torch.optim.SGD):
    """Needs no gradient at steps 2, 5, ... (0-based), where it does nothing, as a nowcast of no jump would."""

    steps_done = 0

    @property
    def need_grads(self) -> bool:
        return self.steps_done % 3 != 2

    def step(self, closure=None):
        if self.need_grads:
            super().step(closure)
        self.steps_done += 1


def test_a_step_without_gradients_skips_its_batch(tasks):
    task = tasks["vision"]
    training = Training(task, seed=0, wrap=lambda base, model: EveryThird(base.param_groups, lr=0.01))
    losses = [training.step() for _ in range(6)]
    assert [loss is None for loss in losses] == [False, False, True] * 2
    assert training.steps == 6
    assert all(torch.equal(a, b) for a, b in zip(training.next_batch(), next(task.batches(0, 6)), strict=True))


def test_wrapping_gets_the_recipes_optimizer_and_the_model(tasks):
    seen = []

    def wrap(base, model):
        seen.extend([base, model])
        return base

    training = Training(tasks["vision"], seed=0, wrap=wrap)
    assert isinstance(seen[0], torch.optim.Adam) and seen[1] is training.model
