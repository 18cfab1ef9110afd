"""The wrapper among the things that training scripts put around an optimizer."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

from nino.optim import NiNo
from tests.optim.test_copies import of_schedulefree

SCHEDULERS = {
    "lambda": lambda opt: torch.optim.lr_scheduler.LambdaLR(opt, lambda n: min(1.0, (n + 1) / 5)),
    "cosine": lambda opt: torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=25),
    "one-cycle": lambda opt: torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.05, total_steps=30),
    "sequence": lambda opt: torch.optim.lr_scheduler.SequentialLR(
        opt,
        [
            torch.optim.lr_scheduler.LinearLR(opt, 0.1, 1.0, total_iters=5),
            torch.optim.lr_scheduler.ExponentialLR(opt, 0.9),
        ],
        milestones=[5],
    ),
}


def test_it_is_an_optimizer(training):
    opt = training().opt
    assert isinstance(opt, torch.optim.Optimizer)
    assert (
        opt.param_groups is opt.base.param_groups and opt.state is opt.base.state and opt.defaults is opt.base.defaults
    )
    opt.base.load_state_dict(opt.base.state_dict())
    assert opt.param_groups is opt.base.param_groups and opt.state is opt.base.state
    assert "Line" in repr(opt) and "AdamW" in repr(opt)


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_schedulers_drive_the_base_optimizer_wherever_they_are_attached(training, name):
    rates, flats = [], []
    for attach in (lambda opt: opt, lambda opt: opt.base):
        run = training(period=10)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The epoch parameter")  # torch's own SequentialLR
            scheduler = SCHEDULERS[name](attach(run.opt))
            seen = []
            for _ in range(25):
                run.step()
                scheduler.step()
                seen.append(run.opt.base.param_groups[0]["lr"])
        assert run.opt.counts["kept"] == 2 and len(set(seen)) > 3
        rates.append(seen)
        flats.append(run.flat())
    assert rates[0] == rates[1] and torch.equal(flats[0], flats[1])


def test_zero_grad_and_parameter_groups(training, tools):
    model = tools.model()
    run = training(model=model, make_base=lambda ps: torch.optim.SGD(list(ps)[:2], lr=0.1))
    run.opt.add_param_group({"params": [model[2].weight], "lr": 0.5})
    assert [g["lr"] for g in run.opt.base.param_groups] == [0.1, 0.5]
    with pytest.raises(ValueError, match="`model` has not: number 0 of group 2"):
        run.opt.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    assert len(run.opt.param_groups) == 2
    run.backward()
    run.opt.zero_grad(set_to_none=False)
    assert bool((model[0].weight.grad == 0).all())
    run.opt.zero_grad()
    assert model[0].weight.grad is None


@pytest.mark.parametrize("direct", [True, False])
def test_grad_scaler_skips_steps_and_nowcasts_count_only_those_taken(training, tools, direct):
    run = training(period=5, nowcaster=tools.const(0.1), make_base=lambda ps: torch.optim.SGD(ps, lr=0.01))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    overflows = {2, 3}
    for i in range(12):
        if run.opt.need_grads:
            run.opt.zero_grad()
            scaler.scale(run.loss()).backward()
            if i in overflows:
                run.model[0].weight.grad[0] = torch.inf
            scaler.step(run.opt)
            scaler.update()
        elif direct:
            run.opt.step()
        else:  # the last gradients are still there: the scaler only looks at them
            scaler.step(run.opt)
            scaler.update()
    assert run.opt.steps == 10 and run.opt.counts["kept"] == 2 and run.opt.last_nowcast.step == 10
    assert scaler.get_scale() == 1.0


def test_gradient_accumulation_counts_optimizer_steps(training):
    run = training(period=5)
    for i in range(20):
        if run.opt.need_grads:
            (run.loss() / 2).backward()
        run.done += 1
        if i % 2:
            run.opt.step()
            run.opt.zero_grad()
    assert run.opt.steps == 10 and run.opt.last_nowcast.step == 10


def test_closures(training, tools):
    by_hand, by_closure = training().run(25), training().run(25, closure=True)
    assert torch.equal(by_hand.flat(), by_closure.flat())
    run = training(nowcaster=tools.const(0.3)).run(9)
    expected = run.loss().item()
    loss = run.opt.step(run.backward)
    assert loss.item() == expected and bool((run.flat() - 0.3).abs().max() < 1e-6)


def test_lbfgs_needs_its_closure_and_gets_it(training):
    run = training(make_base=lambda ps: torch.optim.LBFGS(ps, lr=0.1, max_iter=2)).run(21, closure=True)
    assert run.opt.counts["kept"] == 2


def test_step_hooks_run_around_every_step_once(training):
    run = training(period=5)
    calls = []
    run.opt.register_step_pre_hook(lambda opt, args, kwargs: calls.append("before"))
    handle = run.opt.register_step_post_hook(lambda opt, args, kwargs: calls.append(opt.steps))
    run.run(5)
    assert calls == ["before", 1, "before", 2, "before", 3, "before", 4, "before", 5]
    handle.remove()
    run.run(1)
    assert calls[-1] == "before"


def test_a_step_pre_hook_may_change_the_closure(training):
    run = training()
    run.opt.register_step_pre_hook(lambda opt, args, kwargs: ((args[0], lambda: 42.0), {}))
    assert run.opt.step() == 42.0


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel])
def test_wrapped_models_train_as_bare_ones(training, tools, wrap):
    bare = training().run(25)
    model = tools.model()
    wrapped = training(model=model)
    opt = NiNo(
        torch.optim.AdamW(model.parameters(), lr=1e-2),
        None,
        wrap(model),
        10,
        40,
        nowcaster=tools.line(),
        graph=wrapped.opt.graph,
    )
    wrapped.opt, wrapped.model = opt, wrap(model)
    wrapped.run(25)
    assert opt.model is model and opt.counts["kept"] == 2
    assert torch.equal(wrapped.flat(), bare.flat())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])
def test_copies_go_on_by_themselves(training, copied):
    run = training().run(7)
    twin = copied(run)
    run.run(8)
    twin.run(8)
    assert torch.equal(run.flat(), twin.flat()) and run.opt.base is not twin.opt.base


def test_accelerate(training, tools):
    accelerate = pytest.importorskip("accelerate")
    plain = training().run(25)
    run = training()
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(run.opt, lambda n: 1.0)
    model, opt, scheduler = accelerator.prepare(run.model, run.opt, scheduler)
    for _ in range(25):
        with accelerator.accumulate(model):
            if opt.optimizer.need_grads:
                opt.zero_grad()
                accelerator.backward(run.loss())
            opt.step()
            scheduler.step()
        run.done += 1
    assert opt.optimizer is run.opt and run.opt.counts["kept"] == 2
    assert torch.equal(run.flat(), plain.flat())


def test_accelerate_saves_and_loads_every_tensor(training, tools, tmp_path):
    accelerate = pytest.importorskip("accelerate")
    whole = training().run(25)
    first = training().run(12)
    accelerator = accelerate.Accelerator(cpu=True)
    accelerator.prepare(first.model, first.opt)
    accelerator.save_state(str(tmp_path / "state"))
    second = training(seed=0)
    other = accelerate.Accelerator(cpu=True)
    other.prepare(second.model, second.opt)
    other.load_state(str(tmp_path / "state"))
    second.done = 12
    assert torch.equal(second.run(13).flat(), whole.flat())


OPTIMIZERS = {
    "adam": lambda ps: torch.optim.Adam(ps, lr=3e-3),
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=3e-3, weight_decay=0.01),
    "adamw foreach": lambda ps: torch.optim.AdamW(ps, lr=3e-3, foreach=True),
    "adamw fused": lambda ps: torch.optim.AdamW(ps, lr=3e-3, fused=True),
    "sgd momentum": lambda ps: torch.optim.SGD(ps, lr=0.05, momentum=0.9),
    "schedule-free": of_schedulefree("AdamWScheduleFree"),
    "muon": lambda ps: torch.optim.Muon([p for p in ps if p.ndim == 2], lr=3e-3, weight_decay=0.0),
}


@pytest.fixture(scope="module")
def digits():
    data = pytest.importorskip("sklearn.datasets").load_digits()
    return torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_short_real_training_with_any_base_optimizer(digits, tools, name):
    """A small net on handwritten digits: nowcasts are kept, and the training gets where it should."""
    x, y = digits
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    opt = NiNo(
        OPTIMIZERS[name](model.parameters()), None, model, period=20, max_train_steps=160, nowcaster=tools.line(),
        graph=tools.graph(model), max_horizon=3, spacing=4,
    )  # fmt: skip
    opt.train()
    order = torch.randperm(1500, generator=torch.Generator().manual_seed(0))
    for step in range(160):
        if opt.need_grads:
            rows = order[step * 64 % 1472 :][:64]
            opt.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        opt.step()
    opt.eval()
    accuracy = float((model(x[1500:]).argmax(1) == y[1500:]).float().mean())
    assert opt.counts == {"kept": 8, "put back": 0, "left out": 0}
    assert accuracy > 0.8, accuracy
    torch.save(opt.state_dict(), "/dev/null")
