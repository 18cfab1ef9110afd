import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from nino.specs import DataSpec, ModelSpec, TargetSpec
from nino.tasks import Task, load_task
from nino.tasks.task import default_data_dir


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("kind", ["digits", "pydoc"])
def test_the_seed_alone_decides_init_and_order(request, kind):
    task = request.getfixturevalue(kind)
    torch.manual_seed(1)
    first = flat(task.build_model(7)), next(task.batches(7))
    torch.manual_seed(2)
    assert torch.equal(flat(task.build_model(7)), first[0])
    assert all(torch.equal(a, b) for a, b in zip(next(task.batches(7)), first[1], strict=True))
    assert not torch.equal(flat(task.build_model(8)), first[0])
    assert not torch.equal(next(task.batches(8))[0], first[1][0])


@pytest.mark.parametrize("kind", ["digits", "pydoc"])
def test_the_global_generator_is_left_alone(request, kind):
    task = request.getfixturevalue(kind)
    before = torch.get_rng_state()
    model = task.build_model(0)
    next(task.batches(0, start_step=3))
    task.num_parameters()
    task.evaluate(model, "validation")
    assert torch.equal(torch.get_rng_state(), before)


def test_another_architecture_leaves_the_order(make_vision, digits):
    wider = load_task(replace(make_vision(), model=ModelSpec("convnet", {"channels": [5, 6]})))
    assert torch.equal(next(wider.batches(3))[0], next(digits.batches(3))[0])


def test_starting_at_a_step_is_going_there(digits):
    start = digits.steps_per_epoch + 2
    went = next(itertools.islice(digits.batches(4), start, None))
    sought = next(digits.batches(4, start_step=start))
    assert all(torch.equal(a, b) for a, b in zip(went, sought, strict=True))


def test_accuracy_is_the_share_of_correct_images(digits, monkeypatch):
    model = digits.build_model(0)
    x, y = digits.data.test.slice(0, 10_000)
    expected = 100 * (model(x).argmax(1) == y).float().mean().item()
    assert digits.evaluate(model, "test") == pytest.approx(expected, abs=1e-4)
    monkeypatch.setattr(digits, "_chunk", lambda: 7)
    assert digits.evaluate(model, "test") == pytest.approx(expected, abs=1e-4)


def test_perplexity_is_over_all_tokens(pydoc, monkeypatch):
    model = pydoc.build_model(0)
    tokens = pydoc.data.validation.tokens.long()
    scores = model(tokens).logits[:, :-1]
    expected = math.exp(F.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten()).item())
    assert pydoc.evaluate(model, "validation") == pytest.approx(expected, rel=1e-4)
    monkeypatch.setattr(pydoc, "_chunk", lambda: 7)
    assert pydoc.evaluate(model, "validation") == pytest.approx(expected, rel=1e-4)


def test_the_loss_is_the_causal_language_models_own(pydoc):
    model = pydoc.build_model(0)
    tokens = pydoc.data.train.tokens[:4].long()
    expected = model(tokens, labels=tokens).loss
    torch.testing.assert_close(pydoc.loss(model, pydoc.data.train.slice(0, 4)), expected)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_the_mode_and_the_gradients(digits, training):
    model = digits.build_model(0).train(training)
    digits.evaluate(model, "test")
    assert model.training is training
    assert all(p.grad is None for p in model.parameters())


def test_evaluation_is_without_dropout(make_language):
    task = load_task(make_language(dropout=0.5))
    model = task.build_model(0)
    assert task.evaluate(model, "validation") == task.evaluate(model, "validation")


@pytest.mark.parametrize("kind", ["digits", "pydoc"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_network_never_meets_the_target(request, kind, value):
    task = request.getfixturevalue(kind)
    model = task.build_model(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    assert not task.spec.target.met(task.evaluate(model, "test"))


def test_a_huge_loss_is_an_infinite_perplexity(pydoc):
    model = pydoc.build_model(0)
    with torch.no_grad():
        model.transformer.wte.weight.mul_(1e6)
    assert pydoc.evaluate(model, "test") == math.inf


@pytest.mark.parametrize("kind", ["digits", "pydoc"])
def test_the_description_is_json_and_counts(request, kind):
    task = request.getfixturevalue(kind)
    description = json.loads(json.dumps(task.describe()))
    assert description["parameters"] == sum(p.numel() for p in task.build_model(0).parameters())
    assert description["data"]["checksum"] == task.data_checksum
    assert (
        description["data"]["examples"]["train"] // description["task"]["recipe"]["batch_size"] == task.steps_per_epoch
    )
    assert description["steps_per_epoch"] == task.steps_per_epoch


def test_loading_twice_gives_the_same_data(make_vision, digits):
    assert load_task(make_vision()).data_checksum == digits.data_checksum


def test_unusable_specs_are_refused(make_vision, digits):
    spec = make_vision()
    with pytest.raises(ValueError, match="data.name is 'mnist'; allowed are cifar10, .*wikitext-103, FILE.py:NAME"):
        load_task(replace(spec, data=DataSpec("mnist")))
    with pytest.raises(ValueError, match="model.name is 'perceptron': allowed: convnet, gpt2"):
        load_task(replace(spec, model=ModelSpec("perceptron"))).build_model(0)
    with pytest.raises(ValueError, match=r"target.metric \(=perplexity\) measures no vision data; use accuracy"):
        load_task(replace(spec, target=TargetSpec("perplexity", 3.0)))
    with pytest.raises(ValueError, match="`batch_size` is 5000"):
        Task(make_vision(batch_size=5000), digits.data)


def test_the_default_folder_is_the_users_own():
    assert default_data_dir().name == "data" and default_data_dir().is_absolute()


def test_another_batch_size_makes_epochs_of_another_length(digits):
    recipe = digits.spec.recipe
    half = digits.with_recipe(replace(recipe, batch_size=recipe.batch_size // 2))
    assert half.steps_per_epoch == len(digits.data.train) // (recipe.batch_size // 2) > digits.steps_per_epoch
    assert len(next(half.batches(0))[1]) == recipe.batch_size // 2
