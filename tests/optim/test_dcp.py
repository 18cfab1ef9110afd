"""`torch.distributed.checkpoint` takes the optimizer for what it is: no hidden step, and nothing is lost."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)

from tests.optim.test_copies import of_pytorch_optimizer, of_schedulefree

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed:UserWarning", "ignore:TypedStorage is deprecated")

BASES = {
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=1e-2),
    "sgd": lambda ps: torch.optim.SGD(ps, lr=1e-2),
    "momentum": lambda ps: torch.optim.SGD(ps, lr=1e-2, momentum=0.9),
    "part": lambda ps: torch.optim.AdamW(list(ps)[1:], lr=1e-2),
    "groups": lambda ps: torch.optim.AdamW(
        [{"params": [p], "weight_decay": 0.1 * i} for i, p in enumerate(ps)], lr=1e-2
    ),
}
FLAT = [False, True]


def schedule_free(params):
    """In training mode, as its documentation asks for; that touches the state of every parameter."""
    base = of_schedulefree("AdamWScheduleFree")(params)
    base.train()
    return base


def options(flat):
    return StateDictOptions(flatten_optimizer_state_dict=flat)


@pytest.mark.parametrize("flat", FLAT)
@pytest.mark.parametrize("name", sorted(BASES))
def test_asking_for_the_state_takes_no_step(training, name, flat):
    asked, other = training(make_base=BASES[name]), training(make_base=BASES[name])
    before = asked.flat()
    groups = copy.deepcopy([{k: v for k, v in g.items() if k != "params"} for g in asked.opt.param_groups])
    get_optimizer_state_dict(asked.model, asked.opt, options=options(flat))
    assert asked.opt.steps == 0 and not asked.opt.state and torch.equal(asked.flat(), before)
    assert all(p.grad is None for p in asked.model.parameters())
    assert [{k: v for k, v in g.items() if k != "params"} for g in asked.opt.param_groups] == groups
    assert torch.equal(asked.run(25).flat(), other.run(25).flat())


@pytest.mark.parametrize("flat", FLAT)
@pytest.mark.parametrize("stop", [0, 1, 9, 10, 15])
@pytest.mark.parametrize("name", ["adamw", "sgd", "part", "schedule_free"])
def test_loading_into_a_fresh_state_goes_on_with_the_same_bits(training, tmp_path, name, stop, flat):
    """The natural way: the fresh optimizer's own state says what is loaded."""
    make = BASES.get(name, schedule_free)
    whole, first = training(make_base=make).run(34), training(make_base=make).run(stop)
    model, optimizer = get_state_dict(first.model, first.opt, options=options(flat))
    dcp.save({"model": model, "optimizer": optimizer}, checkpoint_id=tmp_path / "dcp", no_dist=True)
    second = training(make_base=make, seed=0)
    with torch.no_grad():
        second.model[0].weight.zero_()
    model, optimizer = get_state_dict(second.model, second.opt, options=options(flat))
    target = {"model": model, "optimizer": optimizer}
    dcp.load(target, checkpoint_id=tmp_path / "dcp", no_dist=True)
    set_state_dict(
        second.model,
        second.opt,
        model_state_dict=target["model"],
        optim_state_dict=target["optimizer"],
        options=options(flat),
    )
    second.done = stop
    assert second.opt.steps == stop and len(second.opt.history) == len(first.opt.history)
    assert second.opt.counts == first.opt.counts and bool(second.opt.state) == bool(first.opt.state)
    assert torch.equal(second.run(34 - stop).flat(), whole.flat())


@pytest.mark.parametrize("flat", FLAT)
def test_a_state_dict_goes_from_one_optimizer_to_another(training, flat):
    """The documented way: what `get_optimizer_state_dict` returned is what `set_optimizer_state_dict` is given."""
    first = training().run(15)
    state = copy.deepcopy(
        get_optimizer_state_dict(first.model, first.opt, options=options(flat))
    )  # torch shares tensors
    second = training(seed=0)
    second.model.load_state_dict(first.model.state_dict())
    set_optimizer_state_dict(second.model, second.opt, state, options=options(flat))
    second.done = 15
    a, b = first.opt.state_dict(), second.opt.state_dict()
    assert torch.equal(a["nino"].pop("states"), b["nino"].pop("states")) and a["nino"] == b["nino"]
    assert torch.equal(first.run(19).flat(), second.run(19).flat())


@pytest.mark.parametrize("flat", FLAT)
@pytest.mark.parametrize("context", [2, 10])
def test_another_context_drops_the_states_or_is_named(training, tmp_path, context, flat):
    first = training().run(9)
    dcp.save(get_optimizer_state_dict(first.model, first.opt, options=options(flat)), checkpoint_id=tmp_path / "dcp")

    def resumed(rule):
        run = training(total=80, context=context, resume_schedule=rule)
        run.model.load_state_dict(first.model.state_dict())
        target = get_optimizer_state_dict(run.model, run.opt, options=options(flat))
        planner = DefaultLoadPlanner(allow_partial_load=context > 5)  # else torch asks for states that were not saved
        dcp.load(target, checkpoint_id=tmp_path / "dcp", planner=planner)
        set_optimizer_state_dict(run.model, run.opt, target, options=options(flat))
        run.done = 9
        return run

    run = resumed("given")
    assert run.opt.steps == 9 and len(run.opt.history) == 0 and run.opt.schedule.context == context
    assert torch.equal(run.opt.state[run.model[0].weight]["exp_avg"], first.opt.state[first.model[0].weight]["exp_avg"])
    assert run.run(11).opt.counts == {"kept": 1, "put back": 0, "left out": 1}
    if context < 5:
        with pytest.raises(ValueError, match="lacks some of the 4 saved states: .* context=5, .* has context=2"):
            resumed("saved")
    else:
        assert resumed("saved").opt.schedule.context == 5


def test_numbers_in_it_can_be_printed(training):
    run = training(period=2, total=2000, context=2).run(3)
    assert "nino_about" in str(get_optimizer_state_dict(run.model, run.opt))


@pytest.mark.parametrize(("of_base", "early"), [(False, False), (True, False), (True, True)])
def test_schedule_free_trainings_round_trip(training, of_base, early):
    """Also the base optimizer's part alone, for which torch decides whether the optimizer is fresh."""

    def start():
        run = training(make_base=schedule_free if early else of_schedulefree("AdamWScheduleFree"))
        if not early:
            run.opt.train()
        return run, run.opt.base if of_base else run.opt

    (first, asked), (second, fresh) = start(), start()
    first.run(15)
    second.model.load_state_dict(first.model.state_dict())
    state = copy.deepcopy(get_optimizer_state_dict(first.model, asked))
    assert (
        get_optimizer_state_dict(second.model, fresh)["state"]["0.weight"].keys() == state["state"]["0.weight"].keys()
    )
    set_optimizer_state_dict(second.model, fresh, state)
    second.done = 15
    if of_base:
        second.opt.resume(first.opt.state_dict()["nino"])
    assert torch.equal(first.run(10).flat(), second.run(10).flat())


def test_what_cannot_be_loaded_is_refused_with_advice_that_works(training):
    run, plain = training(), training(nowcaster=None)
    base = plain.run(5).opt.base
    state = get_optimizer_state_dict(plain.model, base)
    with pytest.raises(ValueError, match=r"no entry 'nino'.*set_optimizer_state_dict\(model, opt.base, state_dict\)"):
        set_optimizer_state_dict(run.model, run.opt, state)
    assert run.opt.steps == 0 and not run.opt.state
    set_optimizer_state_dict(run.model, run.opt.base, state)
    assert run.opt.state[run.model[0].weight]["step"] == 5


def test_the_state_of_another_model_is_refused(training):
    wide = training(model=nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 1))).run(5)
    state, run = get_optimizer_state_dict(wide.model, wide.opt), training().run(3)
    before = copy.deepcopy(run.opt.state_dict())
    with pytest.raises(ValueError, match=r"parameter '0.weight' has shape \(9, 6\) there, shape \(8, 6\) in the model"):
        set_optimizer_state_dict(run.model, run.opt, state)
    assert run.opt.steps == 3 and torch.equal(run.opt.state_dict()["nino"]["states"], before["nino"]["states"])


def test_a_base_optimizer_with_a_state_dict_of_its_own_is_named(training):
    run = training(make_base=of_pytorch_optimizer("Lookahead", BASES["adamw"])).run(3)
    with pytest.raises(ValueError, match="state dict of Lookahead has no 'state' .* store `to_tensors"):
        get_optimizer_state_dict(run.model, run.opt)
