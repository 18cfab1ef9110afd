"""ViT and Llama in small, trained with what large models need: batches in parts, mixed precision, resuming, NiNo."""

import io
from dataclasses import replace

import pytest
import torch

from nino import NiNo
from nino.ensemble import obstacle
from nino.nowcasters import LineFit, build_nowcaster
from nino.specs import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec
from nino.tasks import Task, load_task
from nino.training import Training

VIT = TaskSpec(
    "vit",
    DataSpec("digits"),
    ModelSpec("vit", {"layers": 1, "width": 8, "heads": 2, "patch": 4}),
    RecipeSpec("adam", 1e-2, 100, 64),
    TargetSpec("accuracy", 90.0),
    EvaluationSpec(5, 5),
)
LLAMA = TaskSpec(
    "llama",
    DataSpec("pydoc", options={"block": 32}),
    ModelSpec("llama", {"layers": 1, "width": 8, "heads": 2, "kv_heads": 1}),
    RecipeSpec("adamw", 1e-2, 100, 8, 1e-2),
    TargetSpec("perplexity", 20.0),
    EvaluationSpec(5, 5),
)


@pytest.fixture(scope="module", params=[VIT, LLAMA], ids=["vit", "llama"])
def task(request) -> Task:
    return load_task(request.param)


def with_recipe(task: Task, **changes) -> Task:
    return Task(replace(task.spec, recipe=replace(task.spec.recipe, **changes)), task.data)


def run(task: Task, steps: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    training = Training(task, seed=2)
    return torch.stack([training.step() for _ in range(steps)]), training.flat_parameters()


def test_the_loss_falls(task):
    losses, _ = run(task, 60)
    assert losses[-10:].mean() < 0.9 * losses[:10].mean()


def test_a_batch_in_parts_is_the_same_step(task):
    whole, parts = run(task), run(with_recipe(task, accumulate=2))
    torch.testing.assert_close(parts[0], whole[0])
    torch.testing.assert_close(parts[1], whole[1], atol=2e-4, rtol=1e-3)  # Adam divides small gradients by their size


def test_the_loss_without_gradient_takes_the_same_parts(task):
    divided = with_recipe(task, accumulate=4)
    model, batch = task.build_model(0).eval(), next(task.batches(0))
    sizes = []
    model.register_forward_pre_hook(lambda _m, inputs: sizes.append(len(inputs[0])))
    with torch.no_grad():
        torch.testing.assert_close(divided.loss(model, batch), task.loss(model, batch))
    assert sizes == [len(batch[0]) // 4] * 4 + [len(batch[0])]


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32(task):
    mixed = with_recipe(task, precision="bfloat16")
    model, batch = task.build_model(0), next(task.batches(0))
    kinds = set()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _m, _i, output: kinds.add(output.dtype))
    loss = mixed.loss(model, batch)
    assert kinds == {torch.bfloat16}
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, task.loss(model, batch), rtol=0.02, atol=0.02)
    (full, _), (half, parameters) = run(task, 30), run(mixed, 30)
    assert parameters.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("nowcaster", [LineFit(), build_nowcaster("nino", hidden=8)], ids=["linear", "nino"])
def test_resuming_is_not_stopping_also_across_a_nowcast(task, nowcaster):
    fancy = with_recipe(task, accumulate=2, precision="bfloat16")

    def start() -> Training:
        return Training(fancy, 3, lambda base, model: NiNo(base, None, model, 10, 20, nowcaster=nowcaster))

    through = start()
    for _ in range(14):
        through.step()
    stopped = start()
    for _ in range(7):
        stopped.step()
    file = io.BytesIO()
    torch.save(stopped.state_dict(), file)
    file.seek(0)
    resumed = start()
    resumed.load_state_dict(torch.load(file, weights_only=False))
    for _ in range(7):
        resumed.step()
    assert resumed.optimizer.last_nowcast.step == 10
    assert torch.equal(resumed.flat_parameters(), through.flat_parameters())


def test_what_a_recipe_cannot_do_is_refused(task):
    with pytest.raises(ValueError, match=r"batch_size \(=\d+\) must be a multiple of recipe.accumulate \(=3\)"):
        with_recipe(task, accumulate=3)
    with pytest.raises(ValueError, match="precision is 'half'; allowed are float32, bfloat16"):
        with_recipe(task, precision="half")


def test_batches_in_parts_are_not_stacked(task):
    assert "in 2 parts" in obstacle(with_recipe(task, accumulate=2))
