"""Base optimizers that keep copies of the weights: after a jump, the training is the same one, translated."""

from __future__ import annotations

import copy
import logging
import re

import pytest
import torch
from torch import nn

from nino.optim import NiNo
from nino.optim.copies import Carried, masters_of


def copies_of(base, parameters):
    """The copies of the parameters' values that an optimizer keeps, in one process."""
    carried = Carried(base, parameters)
    carried.choose([carried.sums])
    return carried.copies


class Master(torch.optim.Optimizer):
    """SGD on a float32 copy of the parameters that lies in the state, as Megatron, optimi and others keep it."""

    name = "weights_in_float32"  # no known name: found by its values

    def __init__(self, params, lr=1e-2):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state.setdefault(self.name, p.detach().float().clone())
                state[self.name].add_(p.grad.float(), alpha=-group["lr"])
                p.copy_(state[self.name])


class Apex(torch.optim.Optimizer):
    """The layout of apex's FusedAdam with `master_weights`: groups of copies beside the groups of parameters."""

    def __init__(self, params, lr=1e-2):
        super().__init__(params, {"lr": lr})
        self.param_groups_master = [{"params": [p.detach().float().clone() for p in self.param_groups[0]["params"]]}]

    @torch.no_grad()
    def step(self, closure=None):
        for p, master in zip(self.param_groups[0]["params"], self.param_groups_master[0]["params"], strict=True):
            master.add_(p.grad.float(), alpha=-1e-2)
            p.copy_(master)


def adamw(params):
    return torch.optim.AdamW(params, lr=1e-2, weight_decay=0.0)


def of_schedulefree(name, **options):
    def make(params):
        module = pytest.importorskip("schedulefree")
        if name == "ScheduleFreeWrapper":
            return module.ScheduleFreeWrapper(torch.optim.SGD(params, lr=1e-2))
        return getattr(module, name)(params, lr=1e-2, **options)

    return make


def of_pytorch_optimizer(name, *inner, **options):
    def make(params):
        module = pytest.importorskip("pytorch_optimizer")
        return getattr(module, name)(*([inner[0](params)] if inner else [params]), **options)

    return make


BASES = {
    "adamw": adamw,
    "sgd": lambda ps: torch.optim.SGD(ps, lr=1e-2, momentum=0.9),
    "master": Master,
    "apex": Apex,
    "schedulefree adamw": of_schedulefree("AdamWScheduleFree"),
    "schedulefree adamw warmup": of_schedulefree("AdamWScheduleFree", warmup_steps=5, foreach=False),
    "schedulefree sgd": of_schedulefree("SGDScheduleFree"),
    "schedulefree radam": of_schedulefree("RAdamScheduleFree"),
    "schedulefree reference": of_schedulefree("AdamWScheduleFreeReference"),
    "schedulefree wrapper": of_schedulefree("ScheduleFreeWrapper"),
    "schedulefree of pytorch_optimizer": of_pytorch_optimizer("ScheduleFreeAdamW", lr=1e-2),
    "lookahead": of_pytorch_optimizer("Lookahead", adamw, k=5, alpha=0.5),
    "ranger": of_pytorch_optimizer("Ranger", lr=1e-2),
    "madgrad": of_pytorch_optimizer("MADGRAD", lr=1e-2),
}
AVERAGES = {name for name in BASES if name.startswith("schedulefree")}


def jump_of_one(tools):
    class Push(tools.line):
        context = 5

        def predict(self, graph, states, k, **options):
            return states[:, -1].float() + 1.0

    return Push()


class Twin:
    """A model under given gradients, whatever its weights are; with a jump of 1 at step 10, or without that step."""

    def __init__(self, tools, make, jump, dtype=torch.float32):
        self.model = tools.model().to(dtype)
        with torch.no_grad():
            self.model[0].bias.zero_()  # a bias that begins at zero is far from its copies, in its own norm
        base = make(self.model.parameters())
        options = {"nowcaster": jump_of_one(tools)} if jump else {"ckpt": None}
        self.opt = NiNo(base, model=self.model, period=10, horizons=1, graph=tools.graph(self.model), **options)
        self.opt.train()
        self.jump, self.draw = jump, torch.Generator().manual_seed(1)

    def run(self, steps):
        for _ in range(steps):
            for p in self.model.parameters():
                p.grad = (0.1 + torch.randn(p.shape, generator=self.draw)).to(p.dtype)
            if self.jump or self.opt.steps != 9:
                self.opt.step()
            else:
                self.opt.progress.steps += 1
        return self

    def flat(self):
        return torch.cat([p.detach().double().flatten() for p in self.model.parameters()])


@pytest.mark.parametrize("name", sorted(BASES))
def test_after_a_jump_the_training_is_the_same_one_translated(tools, name, caplog):
    jumped, plain = (Twin(tools, BASES[name], jump).run(17) for jump in (True, False))
    one = torch.ones(())
    assert jumped.opt.counts["kept"] == 1 and "took back" not in caplog.text
    torch.testing.assert_close(
        jumped.flat() - plain.flat(), one.double().expand(jumped.flat().shape), atol=1e-4, rtol=0
    )
    before = plain.flat()
    for twin in (jumped, plain):
        twin.opt.eval()
    assert torch.equal(plain.flat(), before) != (name in AVERAGES)
    torch.testing.assert_close(jumped.flat() - plain.flat(), one.double().expand(before.shape), atol=1e-4, rtol=0)


@pytest.mark.parametrize("make", [Master, Apex])
def test_a_master_copy_of_bfloat16_rounds_to_the_parameter_after_the_jump(tools, make):
    twin = Twin(tools, make, jump=True, dtype=torch.bfloat16).run(9)
    before = {id(p): p.detach().clone() for p in twin.model.parameters()}
    masters = {id(c.parameter): c.tensor.clone() for c in copies_of(twin.opt.base, list(twin.model.parameters()))}
    twin.run(1)
    for kept in copies_of(twin.opt.base, list(twin.model.parameters())):
        p = kept.parameter
        assert torch.equal(kept.tensor.to(torch.bfloat16), p) and bool((p > before[id(p)] + 0.9).all())
        change = p.float() - before[id(p)].float()
        assert bool(((kept.tensor - masters[id(p)] - change).abs() <= p.float().abs() / 256).all())
    after = twin.flat()
    assert bool(((twin.run(1).flat() - after).abs() < 0.1).all())


@pytest.mark.parametrize("make", [Master, Apex])
def test_states_are_those_of_the_master_so_that_what_rounding_hides_is_no_element_held_still(tools, make):
    """Gradients move the master by much less than bfloat16 resolves, but for one row, which they leave alone."""
    twin = Twin(tools, make, jump=True, dtype=torch.bfloat16)
    for step in range(10):
        before = twin.flat()
        for p in twin.model.parameters():
            p.grad = torch.full_like(p, 1e-3)
        twin.model[0].weight.grad[0] = 0
        if step == 9:
            assert len(set(map(tuple, twin.opt.history.rows().tolist()))) == 4
        twin.opt.step()
    moved = twin.flat() - before
    row = twin.model[0].weight.shape[1]
    assert bool((moved[:row] == 0).all()) and bool((moved[row:] > 0.9).all())
    masters = masters_of(twin.opt.base, list(twin.model.parameters()))
    assert len(masters) == len(list(twin.model.parameters()))
    after = twin.flat()
    for p in twin.model.parameters():
        p.grad = torch.full_like(p, 1e-3)
    twin.opt.step()
    assert bool(((twin.flat() - after).abs() < 1e-2).all()) and twin.opt.counts["kept"] == 1


def test_moments_are_no_copies(tools):
    for make in (BASES["adamw"], BASES["sgd"], lambda ps: torch.optim.Adam(ps, lr=1e-2, amsgrad=True)):
        twin = Twin(tools, make, jump=False).run(9)
        assert copies_of(twin.opt.base, list(twin.model.parameters())) == []


class Scales(Master):
    """Accumulates beginning at one, under a name of its own."""

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            state = self.state[p]
            state.setdefault("total", torch.ones_like(p)).addcmul_(p.grad, p.grad)
            p.addcdiv_(p.grad, state["total"].sqrt(), value=-1e-2)


@pytest.mark.parametrize("make", [lambda ps: torch.optim.Adagrad(ps, lr=1e-2, initial_accumulator_value=1.0), Scales])
def test_what_lies_near_the_weights_by_its_mean_alone_is_no_copy(make):
    weights = [nn.Parameter(torch.ones(8)), nn.Parameter(torch.linspace(0.98, 1.02, 8))]
    base = make(weights)
    for p in weights:
        p.grad = torch.linspace(-0.1, 0.1, 8)
    base.step()
    assert copies_of(base, weights) == []


def test_a_jump_that_is_put_back_leaves_the_copies_alone(training, tools):
    def run(nowcaster, **options):
        return training(make_base=Master, nowcaster=nowcaster, **options).run(15)

    rejecting = run(tools.const(50.0), accept="loss", loss=True)
    plain = run(None)
    assert rejecting.opt.counts["put back"] == 1 and torch.equal(rejecting.flat(), plain.flat())
    for a, b in zip(rejecting.opt.state.values(), plain.opt.state.values(), strict=True):
        assert torch.equal(a[Master.name], b[Master.name])


class OutOfSight(Master):
    """Keeps its copies where nobody finds them."""

    def __init__(self, params, lr=1e-3):
        super().__init__(params, lr)
        copies = [p.detach().clone() for p in self.param_groups[0]["params"]]
        self.hidden = lambda: copies

    @torch.no_grad()
    def step(self, closure=None):
        for p, hidden in zip(self.param_groups[0]["params"], self.hidden(), strict=True):
            hidden.add_(p.grad, alpha=-1e-3)
            p.copy_(hidden)


class FarAway(Master):
    """Adds up weights of three parts, each at more than half of the weights' norm from them."""

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            state = self.state[p]
            if not state:
                state |= {name: p.detach() / 3 for name in ("anchor", "offset", "rest")}
            state["offset"].add_(p.grad, alpha=-1e-4)
            p.copy_(state["anchor"] + state["offset"] + state["rest"])


@pytest.mark.parametrize(
    "make, said",
    [
        (OutOfSight, "OutOfSight took back 1.. % of the nowcast's change of '.*': it may keep a copy .* out of sight"),
        (FarAway, r"FarAway took back 1.. % .*: it may compute weights from FarAway's '(anchor|offset|rest)'"),
    ],
)
def test_a_jump_that_the_next_step_takes_back_is_noticed_and_said(tools, caplog, make, said):
    twin = Twin(tools, make, jump=True).run(10)
    assert "took back" not in caplog.text
    twin.run(1)
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert record.getMessage().startswith("step 11: ")
    assert re.search(said, record.getMessage()), record.getMessage()
    twin.run(5)
    assert caplog.text.count("took back") == 1
    assert twin.opt.counts == {"kept": 0, "put back": 0, "left out": 0, "taken back": 1}


@pytest.mark.parametrize("loads_optimizer", [True, False])
def test_a_training_that_is_rolled_back_after_a_jump_took_nothing_back(tools, caplog, loads_optimizer):
    twin = Twin(tools, adamw, jump=True).run(9)
    stored = copy.deepcopy((twin.model.state_dict(), twin.opt.state_dict()))
    twin.run(1)
    twin.model.load_state_dict(stored[0])
    if loads_optimizer:
        twin.opt.load_state_dict(stored[1])
        twin.opt.enabled = False
    twin.run(1)
    assert "took back" not in caplog.text
    assert twin.opt.counts == {"kept": int(not loads_optimizer), "put back": 0, "left out": 0}


def test_in_evaluation_mode_there_is_no_nowcast(tools):
    twin = Twin(tools, BASES["schedulefree adamw"], jump=True).run(9)
    twin.opt.eval()
    before = twin.flat()
    with pytest.raises(RuntimeError, match="AdamWScheduleFree is in evaluation mode.*call `opt.train\\(\\)`"):
        twin.run(1)
    assert torch.equal(twin.flat(), before) and twin.opt.steps == 9
    twin.opt.train()
    assert twin.run(1).opt.counts["kept"] == 1


def test_train_and_eval_do_nothing_where_the_base_optimizer_has_no_modes(training):
    run = training().run(3)
    before = run.flat()
    run.opt.eval()
    run.opt.train()
    assert torch.equal(run.flat(), before)


@pytest.mark.parametrize("name", ["schedulefree adamw", "schedulefree wrapper", "lookahead"])
def test_such_trainings_resume_to_the_bit(tools, name):
    whole, first = (Twin(tools, BASES[name], jump=True) for _ in range(2))
    whole.run(25)
    stored = copy.deepcopy((first.run(13).model.state_dict(), first.opt.state_dict()))
    second = Twin(tools, BASES[name], jump=True)
    second.model.load_state_dict(stored[0])
    second.opt.load_state_dict(stored[1])
    second.draw.set_state(first.draw.get_state())
    assert torch.equal(second.run(12).flat(), whole.flat()) and second.opt.counts["kept"] == 2


def test_sam_steps_with_a_closure(tools):
    module = pytest.importorskip("pytorch_optimizer")
    torch.manual_seed(0)
    model = tools.model()
    base = module.SAM(model.parameters(), base_optimizer=torch.optim.AdamW, lr=1e-3)
    opt = NiNo(base, model=model, nowcaster=jump_of_one(tools), period=10, horizons=1, graph=tools.graph(model))
    x = torch.randn(16, 6)

    def closure():
        opt.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    means = []
    for _ in range(12):
        opt.step(closure)
        means.append(float(model[0].weight.detach().mean()))
    assert means[10] - means[8] == pytest.approx(1.0, abs=0.05)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_optimizer_is_told_what_it_lacks(tools):
    class Half:
        param_groups, state = [], {}

    with pytest.raises(TypeError, match="`base_opt` is a Half, which has no `step`"):
        NiNo(Half(), model=nn.Linear(2, 2), nowcaster=tools.line(), period=10, horizons=1)
