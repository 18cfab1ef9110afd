"""Steps, their failures, and the losses that they are judged by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from nino.fitting import cosine_decay
from nino.graphs import NeuralGraph
from nino.metatrain import WindowSampler
from nino.metatrain.optimize import MAX_CONSECUTIVE_FAILURES, Precision, Trainer, loss_of
from nino.metatrain.training_windows import Windows
from nino.metatrain.validation import identity_loss, validate
from nino.nowcasters import NiNoNet, build_nowcaster
from nino.specs import MetatrainSpec
from nino.trajectories import TrajectoryReader

Source = tuple[NeuralGraph, TrajectoryReader]
CPU = Precision(torch.device("cpu"))


def _net(seed: int = 0, kind: str = "nino", scaled: bool = True) -> Any:
    return build_nowcaster(kind, hidden=16, context=5, max_horizon=6, seed=seed, scaled=scaled)


def _poisoned(batch: list[Windows]) -> list[Windows]:
    bad = batch[-1].values.clone()
    bad[3, 2] = torch.inf
    return [*batch[:-1], replace(batch[-1], values=bad)]


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("scaling", ["tensor", "network", "none"])
@pytest.mark.parametrize("kind", ["nino", "wnn+"])
def test_identity_loss_is_the_loss_of_a_network_that_predicts_nothing(
    digits: Source, pydoc: Source, recipe: MetatrainSpec, scaling: str, kind: str
) -> None:
    net = _net(kind=kind, scaled=scaling != "none")
    last = net.edge_out.fc[2] if isinstance(net, NiNoNet) else net.edge_mlp.fc[6]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    spec = replace(recipe, scaling=scaling)
    for windows in WindowSampler({"digits-4": digits, "pydoc-1-8": pydoc}, spec).validation():
        loss = loss_of(net, [windows], spec, CPU, "streamed")
        torch.testing.assert_close(loss.detach(), identity_loss(windows, scaling), rtol=1e-5, atol=0)


def test_validation_means(digits: Source, pydoc: Source, recipe: MetatrainSpec) -> None:
    sampler = WindowSampler({"digits-4": digits, "pydoc-1-8": pydoc}, recipe)
    net = _net()
    found = validate(net, sampler, CPU, "streamed")
    assert found is not None
    losses = [loss_of(net, [w], recipe, CPU, "streamed").item() for w in sampler.validation() if w.task == "digits-4"]
    assert found.loss["digits-4"] == pytest.approx(sum(losses) / len(losses))
    assert found.mean_loss == pytest.approx((found.loss["digits-4"] + found.loss["pydoc-1-8"]) / 2)
    assert validate(net, WindowSampler({"digits-4": digits}, replace(recipe, validation_models=0)), CPU, "x") is None


def test_a_step_is_plain_adamw_on_the_mean_loss(digits: Source, recipe: MetatrainSpec) -> None:
    batch = WindowSampler({"digits-4": digits}, recipe).batch(0)
    trainer = Trainer(_net(), replace(recipe, clip_norm=0.01), CPU)
    plain = _net()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    for iteration in range(2):
        targets = torch.tensor([int(windows.mask.sum()) for windows in batch])  # of one task: each counts alike
        losses = torch.stack([loss_of(plain, [windows], recipe, CPU, "edges") for windows in batch])
        loss = (losses * targets).sum() / targets.sum()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.01)
        for group in optimizer.param_groups:
            group["lr"] = cosine_decay(iteration, recipe.iterations, recipe.lr, recipe.min_lr)
        optimizer.step()
        step = trainer.step(iteration, batch)
        assert step.applied
        assert step.loss == pytest.approx(loss.item(), rel=1e-5)
        assert step.grad_norm == pytest.approx(norm.item(), rel=1e-4)
        assert step.grad_norm > 0.01  # so that clipping has been at work
    for mine, theirs in zip(trainer.net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_tasks_count_as_much_as_their_trajectories(digits: Source, pydoc: Source, recipe: MetatrainSpec) -> None:
    sampler = WindowSampler({"digits-4": digits, "pydoc-1-8": pydoc}, replace(recipe, trajectories_per_batch=3))
    batch = next(b for b in map(sampler.batch, range(50)) if [w.task for w in b].count("digits-4") == 2)
    vision = [windows for windows in batch if windows.task == "digits-4"]
    language = [windows for windows in batch if windows.task == "pydoc-1-8"]
    parts = [loss_of(_net(), group, recipe, CPU, "edges").item() for group in (vision, language)]
    step = Trainer(_net(), recipe, CPU).step(0, batch)
    assert step.loss == pytest.approx((2 * parts[0] + parts[1]) / 3, rel=1e-5)


def test_a_failure_rolls_back_to_the_last_good_state(digits: Source, recipe: MetatrainSpec) -> None:
    sampler = WindowSampler({"digits-4": digits}, recipe)
    trainer, twin = Trainer(_net(), recipe, CPU), Trainer(_net(), recipe, CPU)
    for iteration in range(3):
        trainer.step(iteration, sampler.batch(iteration))
        if iteration < 2:
            twin.step(iteration, sampler.batch(iteration))
    # three updates were made; the state before the third is the last at which a batch is known to have been fine
    bad = trainer.step(3, _poisoned(sampler.batch(3)))
    assert not bad.applied and bad.loss != bad.loss
    assert trainer.failures == 1
    assert _same(trainer.net.state_dict(), twin.net.state_dict())
    assert trainer.step(4, sampler.batch(4)).applied
    assert twin.step(4, sampler.batch(4)).applied
    assert _same(trainer.net.state_dict(), twin.net.state_dict())  # moments were rolled back as well
    assert trainer.failures == 1 and trainer.consecutive == 0


def test_a_failure_at_once_keeps_the_initialisation(digits: Source, recipe: MetatrainSpec) -> None:
    trainer = Trainer(_net(), recipe, CPU)
    trainer.step(0, _poisoned(WindowSampler({"digits-4": digits}, recipe).batch(0)))
    assert _same(trainer.net.state_dict(), _net().state_dict())


def test_broken_weights_are_undone(digits: Source, recipe: MetatrainSpec) -> None:
    sampler = WindowSampler({"digits-4": digits}, recipe)
    trainer = Trainer(_net(), recipe, CPU)
    trainer.step(0, sampler.batch(0))
    with torch.no_grad():
        next(trainer.net.parameters()).fill_(torch.nan)
    assert not trainer.step(1, sampler.batch(1)).applied
    assert trainer.step(2, sampler.batch(2)).applied


def test_too_many_failures_in_a_row_are_an_error(digits: Source, recipe: MetatrainSpec) -> None:
    trainer = Trainer(_net(), recipe, CPU)
    batch = _poisoned(WindowSampler({"digits-4": digits}, recipe).batch(0))
    with pytest.raises(FloatingPointError, match=r"10 iterations in a row, up to 9.*lower `lr` \(=0.003\)"):
        for iteration in range(MAX_CONSECUTIVE_FAILURES + 1):
            trainer.step(iteration, batch)


def test_precision() -> None:
    assert Precision.choose("cpu", "auto").dtype is None
    with pytest.raises(ValueError, match=r"`amp` \(='fast'\)"):
        Precision.choose("cpu", "fast")
    with Precision(torch.device("cpu"), torch.bfloat16).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_an_overflow_in_float16_is_no_failure(digits: Source, recipe: MetatrainSpec) -> None:
    """The loss's scale is halved until gradients fit; what is not finite at any scale still is a failure."""
    sampler = WindowSampler({"digits-4": digits}, recipe)
    trainer = Trainer(_net(), recipe, Precision(torch.device("cpu"), torch.float16))
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    start = {name: value.clone() for name, value in trainer.net.state_dict().items()}
    steps = [trainer.step(0, sampler.batch(0))]
    assert not steps[0].applied and _same(start, trainer.net.state_dict())
    while not steps[-1].applied:
        steps.append(trainer.step(len(steps), sampler.batch(0)))
    assert 5 < len(steps) < 40 and trainer.failures == 0 and trainer.scaler.get_scale() < 2**55
    assert not _same(start, trainer.net.state_dict())
    again = Trainer(_net(), recipe, Precision(torch.device("cpu"), torch.float16))
    again.load_state_dict(trainer.state_dict())
    assert again.scaler.get_scale() == trainer.scaler.get_scale()
    assert not trainer.step(50, _poisoned(sampler.batch(1))).applied
    assert trainer.failures == 1 and trainer.step(51, sampler.batch(2)).applied


@pytest.mark.parametrize("fast", [torch.bfloat16, torch.float16])
def test_mixed_precision_is_close(digits: Source, recipe: MetatrainSpec, fast: torch.dtype) -> None:
    """The paths that GPUs take, here on the CPU."""
    batch = WindowSampler({"digits-4": digits}, recipe).batch(0)
    found = []
    for dtype in (None, fast):
        net = _net()
        with torch.no_grad():  # at its initialisation the network predicts next to nothing, in any precision
            for parameter in net.parameters():
                parameter.mul_(10)
        trainer = Trainer(net, recipe, Precision(torch.device("cpu"), dtype))
        while not (step := trainer.step(0, batch)).applied:  # float16 first finds its loss's scale
            assert trainer.failures == 0
        found.append(step)
    full, mixed = found
    assert full.loss != mixed.loss
    assert mixed.loss == pytest.approx(full.loss, rel=0.02)
    assert mixed.grad_norm == pytest.approx(full.grad_norm, rel=0.05)
