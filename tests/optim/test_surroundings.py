"""What others put around the wrapper reaches it, or is refused; what it says reaches the user."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from nino.optim import NiNo


@pytest.fixture
def fabric():
    return pytest.importorskip("lightning_fabric").Fabric(accelerator="cpu", devices=1)


@pytest.mark.filterwarnings("ignore")
def test_fabric_s_optimizer_shows_and_sets_what_the_wrapper_has(training, fabric):
    plain = training().run(25)
    run = training()
    model, opt = fabric.setup(run.model, run.opt)
    assert opt is not run.opt and isinstance(opt, NiNo)
    for _ in range(25):
        assert opt.need_grads == run.opt.need_grads and opt.steps == run.opt.steps
        if opt.need_grads:
            opt.zero_grad()
            fabric.backward(run.loss())
        opt.step()
        run.done += 1
    assert torch.equal(run.flat(), plain.flat()) and opt.steps == run.opt.steps == 25
    assert opt.last_nowcast is run.opt.last_nowcast and opt.counts == run.opt.counts == {**plain.opt.counts}
    opt.loss, opt.accept, opt.update_scale = run.loss, "loss", 0.5
    assert run.opt.loss == run.loss and run.opt.accept == "loss" and run.opt.update_scale == 0.5
    opt.enabled = False
    assert not run.opt.enabled and not opt.enabled and len(run.opt.history) == 0
    with pytest.raises(ValueError, match="`accept`"):
        opt.accept = "always"


class SnapshotOptimizer:
    """An object of the wrapper's class whose attributes are a copy of the wrapper's, as of earlier Fabrics."""

    def __new__(cls, opt):
        self = object.__new__(type("Snapshot", (type(opt),), {}))
        self.__dict__.update({k: v for k, v in opt.__dict__.items() if k != "step"})
        return self


def test_a_copy_of_its_attributes_shows_the_same_numbers(training):
    run = training()
    seen = SnapshotOptimizer(run.opt)
    run.run(12)
    assert seen.steps == 12 and seen.last_nowcast is run.opt.last_nowcast and seen.need_grads
    seen.enabled = False
    run.run(20)
    assert not run.opt.enabled and run.opt.counts["kept"] == 1


@pytest.mark.parametrize("name, value", [("enabled", False), ("loss", None), ("update_scale", 0.5)])
def test_settings_that_accelerate_keeps_for_itself_are_refused(training, name, value):
    accelerate = pytest.importorskip("accelerate")
    run = training()
    model, opt = accelerate.Accelerator(cpu=True).prepare(run.model, run.opt)
    setattr(opt, name, value)
    with pytest.raises(AttributeError, match=rf"`{name}` was set on a AcceleratedOptimizer.*`opt.optimizer.{name} = "):
        for _ in range(10):
            run.backward()
            opt.step()
    assert run.opt.steps == 1  # the first state is saved by step 2
    delattr(opt, name)
    setattr(opt.optimizer, name, value)
    for _ in range(9):
        run.backward()
        opt.step()
    assert getattr(run.opt, name) == value and run.opt.steps == 10


def test_a_loop_of_one_s_own_may_have_any_attribute(training):
    class Loop:
        def __init__(self, run):
            self.optimizer, self.run, self.loss, self.enabled = run.opt, run, 1.0, True

        def go(self):
            self.run.run(11)

    run = training()
    Loop(run).go()
    assert run.opt.counts["kept"] == 1


def test_torch_compile_takes_the_base_steps_and_leaves_the_nowcasts_outside(training):
    graphs = []

    def backend(module, inputs):
        graphs.append({node.name for node in module.graph.nodes})
        return module.forward

    plain, run = training().run(12), training()
    torch._dynamo.reset()
    step = torch.compile(lambda: run.opt.step(), backend=backend)
    for _ in range(12):
        if run.opt.need_grads:
            run.backward()
        step()
        run.done += 1
    torch._dynamo.reset()
    assert run.opt.counts["kept"] == 1 and run.opt.steps == 12
    torch.testing.assert_close(run.flat(), plain.flat(), atol=1e-5, rtol=0)
    assert len(graphs) == 1 and any("addcdiv" in name for name in graphs[0])


@pytest.mark.parametrize("unscale", [True, False])
def test_grad_scaler_with_zero_grad_after_the_step(training, unscale):
    def train(scaled):
        run = training(period=5, make_base=lambda ps: torch.optim.SGD(ps, lr=0.01))
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, enabled=scaled)
        for _ in range(12):
            if run.opt.need_grads:
                scaler.scale(run.loss()).backward()
            if unscale:
                scaler.unscale_(run.opt)
            scaler.step(run.opt)
            scaler.update()
            run.opt.zero_grad()
            run.done += 1
        return run

    plain, run = train(False), train(True)
    assert run.opt.steps == 12 and run.opt.counts["kept"] == 2 and torch.equal(run.flat(), plain.flat())
    assert all(p.grad is None for p in run.model.parameters())


@pytest.mark.parametrize("change", ["replace", "add", "remove"])
def test_parameters_that_change_after_construction_are_noticed_at_the_next_save(training, change):
    run = training().run(1)
    before = [p.detach().clone() for p in run.model.parameters()]
    if change == "replace":
        run.model[2] = nn.Linear(8, 1)
        said = "parameter '2.weight' of the model was replaced by another tensor"
    elif change == "add":
        run.model.append(nn.Linear(1, 1))
        said = "parameter '3.weight' of the model was added"
    else:
        run.model[2].bias = None
        said = "parameter '2.bias' of the model is gone"
    with pytest.raises(ValueError, match=said + " after the optimizer was made.*opt.enabled = False"):
        run.step()
    assert run.opt.steps == 1 and torch.equal(run.model[0].weight, before[0])
    run.opt.enabled = False
    assert run.step().opt.steps == 2


def test_modules_may_move_and_change_dtype(training):
    run = training().run(1)
    run.model.double().float()
    assert run.run(11).opt.counts["kept"] == 1


def test_the_given_schedule_rules_after_a_resume_where_asked(training):
    first = training(period=10, total=20).run(14)
    longer = training(period=10, total=60, resume_schedule="given")
    longer.model.load_state_dict(first.model.state_dict())
    longer.opt.load_state_dict(first.opt.state_dict())
    longer.done = 14
    assert longer.opt.steps == 14 and len(longer.opt.history) == 2
    longer.run(46)
    own = training(period=10, total=60).opt.schedule
    assert longer.opt.schedule == own and longer.opt.counts == {"kept": 6, "put back": 0, "left out": 0}
    assert longer.opt.last_nowcast.k == own.horizon(60) == 1


def test_states_of_another_schedule_are_dropped_where_the_given_one_rules(training):
    first = training(period=10, total=20).run(14)
    other = training(period=20, context=4, total=80, resume_schedule="given")
    other.opt.load_state_dict(first.opt.state_dict())
    assert len(other.opt.history) == 0 and other.opt.schedule.period == 20
    other.run(26)
    assert other.opt.counts == {"kept": 2, "put back": 0, "left out": 1}


@pytest.mark.usefixtures("unchecked")
def test_a_rule_that_does_not_exist_is_refused(training):
    with pytest.raises(ValueError, match=r"`resume_schedule` \(='new'\) must be 'saved' .* or 'given'"):
        training(resume_schedule="new")


def test_by_default_a_line_a_nowcast_reaches_the_user(training, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # a program that has set up no logging
    training().run(21)
    lines = capsys.readouterr().err.splitlines()
    assert [line[: line.index(" kept")] for line in lines] == [
        "nino: step 10: nowcast k=40",
        "nino: step 20: nowcast k=21",
    ]


def test_it_can_be_switched_off_and_warnings_stay(training, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    run = training(verbose=False).run(11)
    with torch.no_grad():
        run.model[0].bias[0] = torch.nan
    run.run(10)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nino: step 20: nowcast left out")


def test_a_program_s_own_handlers_take_over(training, capsys, caplog):
    training().run(11)
    assert capsys.readouterr().err == "" and "step 10: nowcast k=40 kept" in caplog.text


def test_a_hook_hands_numbers_to_any_logger(training):
    calls = []

    def add_scalar(tag, scalar_value, global_step):
        calls.append((tag, scalar_value, global_step))

    def report(opt, record):
        for name, value in record.numbers().items():
            add_scalar(f"nowcast/{name}", value, record.step)

    run = training(loss=True)
    run.opt.register_nowcast_post_hook(report)
    run.run(10)
    assert {tag for tag, _, _ in calls} == {
        f"nowcast/{n}" for n in ("k", "seconds", "norm", "finite", "accepted", "loss_before", "loss_after")
    }
    assert {step for *_, step in calls} == {10} and all(type(value) is float for _, value, _ in calls)


def test_tensorboard_s_writer_takes_them(training, tmp_path):
    pytest.importorskip("tensorboard")
    writing = pytest.importorskip("torch.utils.tensorboard")
    run = training()
    with writing.SummaryWriter(str(tmp_path)) as writer:
        run.opt.register_nowcast_post_hook(
            lambda opt, record: [writer.add_scalar(f"nowcast/{n}", v, record.step) for n, v in record.numbers().items()]
        )
        run.run(10)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) > 100
