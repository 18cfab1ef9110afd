"""Stopping at any step and going on gives the same bits as not stopping, through every way of storing the state."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nino.nowcasters import Divided, SampledEdges, build_nowcaster
from nino.optim import from_tensors, to_tensors
from nino.optim.signature import nowcaster_signature
from tests.optim.helpers import Training


def through_torch_save(state, folder):
    file = io.BytesIO()
    torch.save(state, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=True)


def through_safetensors(state, folder):
    safetensors.torch.save_file(to_tensors(state), folder / "optimizer.safetensors")
    return from_tensors(safetensors.torch.load_file(folder / "optimizer.safetensors"))


def through_dcp(state, folder):
    dcp.save(to_tensors(state), checkpoint_id=folder / "dcp", no_dist=True)
    stored = dcp.FileSystemReader(folder / "dcp").read_metadata().state_dict_metadata
    empty = {key: torch.empty(entry.size, dtype=entry.properties.dtype) for key, entry in stored.items()}
    dcp.load(empty, checkpoint_id=folder / "dcp", no_dist=True)
    return from_tensors(empty)


def in_memory(state, folder):
    return copy.deepcopy(state)


BASES = {
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=1e-2),
    "adam amsgrad": lambda ps: torch.optim.Adam(ps, lr=1e-2, amsgrad=True),
    "sgd": lambda ps: torch.optim.SGD(ps, lr=1e-2, momentum=0.9, nesterov=True),
}


def resumed(training, tools, stop, through, folder, steps=34, **options):
    """The same training, stopped after ``stop`` steps, stored, and continued by new objects."""
    first = training(**options).run(stop)
    stored = through(first.opt.state_dict(), folder)
    weights = copy.deepcopy(first.model.state_dict())
    first.run(2)  # what goes on there must not matter
    second = training(seed=0, **options)
    second.model.load_state_dict(weights)
    second.opt.load_state_dict(stored)
    second.done = stop
    return second.run(steps - stop)


@pytest.mark.parametrize("through", [through_torch_save, through_safetensors, through_dcp, in_memory])
@pytest.mark.parametrize("stop", [0, 1, 9, 10, 15])
@pytest.mark.filterwarnings("ignore:torch.distributed:UserWarning")
def test_resume_through_every_store(training, tools, tmp_path, through, stop):
    whole = training().run(34)
    again = resumed(training, tools, stop, through, tmp_path)
    assert torch.equal(whole.flat(), again.flat())
    assert again.opt.steps == 34 and again.opt.counts == whole.opt.counts == {"kept": 3, "put back": 0, "left out": 0}
    for a, b in zip(whole.opt.state.values(), again.opt.state.values(), strict=True):
        assert all(torch.equal(torch.as_tensor(a[key]), torch.as_tensor(b[key])) for key in a)


def test_a_state_that_an_earlier_version_saved_goes_on(training):
    """Version 0.1.0 saved it after 15 steps of this training, and ended after 34 at ``after``."""
    stored = torch.load(Path(__file__).parent / "data" / "state_of_0_1.pt", weights_only=True)
    run = training(seed=0)
    run.model.load_state_dict(stored["model"])
    run.opt.load_state_dict(stored["optimizer"])
    run.done = 15
    assert run.opt.steps == 15 and len(run.opt.history) == 2 and run.opt.counts["kept"] == 1
    assert torch.equal(run.opt.history.rows(), stored["optimizer"]["nino"]["states"])
    assert run.opt.state_dict()["nino"].keys() == stored["optimizer"]["nino"].keys()
    torch.testing.assert_close(run.run(19).flat(), stored["after"])
    assert run.opt.counts == {"kept": 3, "put back": 0, "left out": 0}


def test_states_of_a_disabled_optimizer_may_be_anyones(training):
    """Where no nowcast goes on from them, a rank that keeps no states may have saved them."""
    state = training().run(5).opt.state_dict()
    state["nino"] |= {"enabled": False, "states": state["nino"]["states"][:0]}
    second = training(period=20, context=4)
    second.opt.load_state_dict(state)
    assert not second.opt.enabled and len(second.opt.history) == 0
    second.opt.enabled = True
    assert second.run(25).opt.counts == {"kept": 2, "put back": 0, "left out": 1}


@settings(max_examples=15, deadline=None)
@given(stop=st.integers(0, 33), base=st.sampled_from(sorted(BASES)), history=st.sampled_from(["cpu", "disk", "device"]))
def test_resume_at_random_steps(stop, base, history):
    options = {"make_base": BASES[base], "history": history, "history_dtype": torch.float16}
    whole = Training(**options).run(34)
    assert torch.equal(whole.flat(), resumed(Training, None, stop, in_memory, None, **options).flat())


def test_own_schedule_and_scheduler_resume(training, tools):
    options = {"period": 7, "context": 3, "spacing": 2, "horizons": [4, 2], "total": None}

    def with_scheduler():
        run = training(**options)
        return run, torch.optim.lr_scheduler.OneCycleLR(run.opt, max_lr=0.05, total_steps=40)

    def go(run, scheduler, steps):
        for _ in range(steps):
            run.step()
            scheduler.step()

    whole, scheduler = with_scheduler()
    go(whole, scheduler, 30)
    first, scheduler = with_scheduler()
    go(first, scheduler, 12)
    kept = copy.deepcopy((first.model.state_dict(), first.opt.state_dict(), scheduler.state_dict()))
    second, scheduler = with_scheduler()
    for target, state in zip((second.model, second.opt, scheduler), kept, strict=True):
        target.load_state_dict(state)
    second.done = 12
    go(second, scheduler, 18)
    assert torch.equal(whole.flat(), second.flat())


def test_the_loaded_schedule_takes_over_and_says_so(training, caplog):
    first = training(period=10).run(12)
    second = training(period=20, context=4)
    second.opt.load_state_dict(first.opt.state_dict())
    assert second.opt.schedule == first.opt.schedule and second.opt.history.context == 5
    assert "takes over" in caplog.text


def test_the_state_is_plain_and_no_larger_than_its_parts(training):
    run = training().run(5)
    file = io.BytesIO()
    torch.save(run.opt.state_dict(), file)
    numbers = run.flat().numel()
    assert run.opt.state_dict()["nino"]["states"].shape == (2, numbers)
    assert len(file.getvalue()) < 4 * numbers * (2 + 2) + 16_000
    assert set(run.opt.state_dict()) == {"state", "param_groups", "nino"}


def test_later_steps_leave_a_state_dict_s_states_alone(training):
    run = training().run(5)
    states = run.opt.state_dict()["nino"]["states"]
    before = states.clone()
    run.run(10)
    assert torch.equal(states, before)


def test_the_base_optimizer_can_go_on_alone(training, tools):
    first = training().run(15)
    model = tools.model()
    torch.optim.AdamW(model.parameters()).load_state_dict(first.opt.state_dict())
    alone = training(nowcaster=None)
    alone.opt.load_state_dict(first.opt.state_dict())
    assert alone.opt.steps == 15 and alone.opt.need_grads and not alone.opt.enabled
    alone.run(10)


def test_other_states_are_refused_and_change_nothing(training, tools):
    run = training().run(5)
    foreign = training(model=nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1, bias=False))).opt
    const = training(nowcaster=tools.const(1.0)).opt
    damaged = copy.deepcopy(run.opt.state_dict())
    damaged["nino"]["states"] = damaged["nino"]["states"][:, :7]
    newer = copy.deepcopy(run.opt.state_dict())
    newer["nino"]["format"] = 99
    other_graph = copy.deepcopy(run.opt.state_dict())
    other_graph["nino"]["graph"] = "0123"
    before = copy.deepcopy(run.opt.state_dict())
    for state, said in [
        (foreign.state_dict(), "of another model: parameter '2.bias' is missing there, shape"),
        (const.state_dict(), r"saved with the nowcaster Const\(.*this optimizer has Line\("),
        (run.opt.base.state_dict(), "no entry 'nino'.*opt.base.load_state_dict"),
        (damaged, "it is damaged"),
        (newer, "format 99"),
        (other_graph, "graph of signature 0123.*topology 'released'"),
    ]:
        with pytest.raises(ValueError, match=said):
            run.opt.load_state_dict(state)
    after = run.opt.state_dict()
    assert after["nino"]["step"] == before["nino"]["step"]
    assert torch.equal(after["nino"]["states"], before["nino"]["states"])


def test_a_nowcaster_that_is_used_in_another_way_is_another_one():
    net = build_nowcaster("nino", hidden=8)
    ways = [net, SampledEdges(net, 0.5), SampledEdges(net, 0.1), Divided(net, "block"), Divided(net, "layer")]
    ways.append(Divided(SampledEdges(net, 0.5), "block"))
    told = [nowcaster_signature(way) for way in ways]
    net.scaling = "network"
    told += [nowcaster_signature(way) for way in ways]
    assert len(set(told)) == len(told)
    assert told[0] == nowcaster_signature(build_nowcaster("nino", hidden=8))


def test_the_state_of_a_rank_that_keeps_no_states_is_refused_where_they_are_needed(training):
    state = training().run(5).opt.state_dict()
    assert state["nino"]["saved"] == 2
    state["nino"]["states"] = state["nino"]["states"][:0]
    with pytest.raises(ValueError, match="load rank 0's"):
        training().opt.load_state_dict(state)


def test_a_wider_model_of_the_same_names_is_refused(training):
    wide = training(model=nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 1))).opt
    with pytest.raises(ValueError, match=r"parameter '0.weight' has shape \(9, 6\) there, shape \(8, 6\) in the model"):
        training().opt.load_state_dict(wide.state_dict())


def test_nowcasters_of_other_weights_have_other_signatures(tools):
    class Net(nn.Module):
        context, max_horizon = 5, 40

        def __init__(self):
            super().__init__()
            self.gain = nn.Linear(1, 1)

    one, two = Net(), Net()
    assert nowcaster_signature(one) == nowcaster_signature(copy.deepcopy(one)) != nowcaster_signature(two)
    assert nowcaster_signature(None) is None


def test_state_dict_hooks_run(training):
    run = training().run(5)
    run.opt.register_state_dict_post_hook(lambda opt, state: {**state, "extra": 7})
    seen = []
    run.opt.register_load_state_dict_pre_hook(lambda opt, state: seen.append(state.pop("extra")))
    state = run.opt.state_dict()
    assert state["extra"] == 7
    run.opt.load_state_dict(state)
    assert seen == [7]


def test_flat_tensors_keep_memory_formats_and_refuse_what_they_cannot_hold():
    tensor = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    back = from_tensors(to_tensors({"a": [tensor, tensor], "b": (None, True, 1.5, float("inf"), "x")}))
    assert back["a"][0].stride() == tensor.stride() and torch.equal(back["a"][1], tensor)
    assert back["b"] == (None, True, 1.5, float("inf"), "x")
    with pytest.raises(TypeError, match="a.0 is a set"):
        to_tensors({"a": [{1}]})
    with pytest.raises(TypeError, match="a has a key"):
        to_tensors({"a": {(1,): 2}})
    with pytest.raises(ValueError, match="not made by `to_tensors`"):
        from_tensors({"a": tensor})
