import pytest
import torch
from torch import nn

from nino.evaluate.target.first_hit import TargetCheck, needed
from nino.specs import TargetSpec
from nino.training import Training


@pytest.mark.parametrize("sample", [True, False])
@pytest.mark.parametrize("value", [30.0, 60.0, 75.0, 101.0])
def test_the_first_hit_is_that_of_full_evaluation_at_every_step(variant, value, sample) -> None:
    task = variant(target={"value": value}, recipe={"lr": 0.03}, model={"options": {"channels": [8, 8, 8]}})
    training, check = Training(task, 1000), TargetCheck(task, sample)
    first = None
    full = 0
    for step in range(1, 121):
        training.step()
        met = task.spec.target.met(training.evaluate("test"))
        ruled_out = check.rules_out(training.model)
        assert not (met and ruled_out), step
        full += not ruled_out
        if met:
            first = step
            break
    assert (first is None) == (value > 100)
    assert full <= 3  # all but the last steps before the hit are ruled out


def test_far_from_the_target_few_images_are_looked_at(variant) -> None:
    task = variant(target={"value": 95.0}, recipe={"lr": 0.03})
    training, check = Training(task, 1000), TargetCheck(task)
    for _ in range(80):
        training.step()
        assert check.rules_out(training.model)
    assert check.images < 0.5 * 80 * len(task.data.split("test"))


def test_far_from_the_target_a_sample_saves_most_of_the_counting(variant) -> None:
    task = variant(target={"value": 60.0}, recipe={"lr": 1e-4})
    training, sampling, counting = Training(task, 1000), TargetCheck(task), TargetCheck(task, sample=False)
    for _ in range(20):
        training.step()
        assert sampling.rules_out(training.model)
        assert counting.rules_out(training.model)
    assert sampling.images < 0.7 * counting.images


def test_what_earlier_checks_showed_can_be_handed_on(variant) -> None:
    training = Training(variant(recipe={"lr": 0.03}), 1000)
    for _ in range(100):
        training.step()
    near = variant(target={"value": training.evaluate("test") + 5})
    check, handed, fresh = (TargetCheck(near, sample=False) for _ in range(3))
    for _ in range(5):
        assert check.rules_out(training.model)
    handed.load_state_dict(check.state_dict())
    assert handed.rules_out(training.model)
    assert fresh.rules_out(training.model)
    assert handed.images < 0.9 * fresh.images


def test_a_check_draws_no_random_numbers_of_the_training_s(digits) -> None:
    state = torch.get_rng_state()
    TargetCheck(digits).rules_out(digits.build_model(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_check_changes_nothing_in_the_model(digits) -> None:
    model = digits.build_model(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    TargetCheck(digits).rules_out(model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_scores_that_are_not_finite_never_meet_a_target(digits) -> None:
    model = digits.build_model(0)
    nn.init.constant_(model.get_parameter("fc.bias"), float("nan"))
    assert TargetCheck(digits).rules_out(model)


def test_ties_are_left_to_the_full_evaluation(variant) -> None:
    task = variant(target={"value": 99.0})
    model = task.build_model(0)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)  # all scores equal: argmax alone decides
    assert not TargetCheck(task).rules_out(model)


def test_perplexity_is_never_ruled_out(pydoc) -> None:
    assert not TargetCheck(pydoc).rules_out(pydoc.build_model(0))


@pytest.mark.parametrize("total", [7, 540, 10000])
def test_needed_is_the_boundary(total) -> None:
    for value in (0.0, 12.3, 66.0, 89.5, 100.0):
        target = TargetSpec("accuracy", value)
        count = needed(target, total)
        assert target.met(100.0 * (count / total))
        assert count == 0 or not target.met(100.0 * ((count - 1) / total))
