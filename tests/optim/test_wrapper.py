"""What a nowcast does to a training, and what it leaves alone."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from nino.optim import NiNo


def test_states_and_nowcast_come_at_the_steps_of_the_paper(training, tools):
    nowcaster = tools.const(0.5)
    run = training(nowcaster=nowcaster, period=10, total=20)
    before, needed = {}, []
    for step in range(1, 21):
        before[step] = run.flat().float()
        needed.append(run.opt.need_grads)
        run.step()
        if step % 10 == 0:
            assert torch.equal(run.flat(), torch.full_like(run.flat(), 0.5))
    assert needed == [True] * 9 + [False] + [True] * 9 + [False]
    (first, k1), (second, k2) = nowcaster.calls
    assert (k1, k2) == (40, 1)
    assert torch.equal(first, torch.stack([before[s] for s in (2, 4, 6, 8, 10)], 1))
    assert torch.equal(second, torch.stack([before[s] for s in (12, 14, 16, 18, 20)], 1))
    assert torch.equal(before[11], torch.full_like(before[11], 0.5))


def test_the_nowcast_takes_the_place_of_one_base_step(training):
    run = training(period=10, total=20).run(10)
    step = next(iter(run.opt.state.values()))["step"]
    assert step == 9 and run.opt.steps == 10
    record = run.opt.last_nowcast
    assert (record.step, record.k, record.finite, record.accepted) == (10, 40, True, True)
    assert record.norm > 0 and record.seconds > 0


def test_without_a_nowcaster_it_is_the_base_optimizer(training):
    plain = training(nowcaster=None).run(25)
    other = training().run(0)
    other.opt.enabled = False
    other.run(25)
    assert torch.equal(plain.flat(), other.flat())
    reference = training(nowcaster=None)
    base = reference.opt.base
    for _ in range(25):
        reference.backward()
        base.step()
        reference.done += 1
    assert torch.equal(plain.flat(), reference.flat())


def test_scale_zero_keeps_the_last_state_exactly_and_half_goes_half_way(training, tools):
    still = training(update_scale=0.0, nowcaster=tools.const(7.0)).run(9)
    before = still.flat()
    assert torch.equal(still.step().flat(), before)
    half = training(update_scale=0.5, nowcaster=tools.const(7.0)).run(9)
    before = half.flat()
    assert torch.allclose(half.step().flat(), before + 0.5 * (7.0 - before), rtol=1e-6)


def test_frozen_and_foreign_parameters_stay(training, tools):
    model = tools.model()
    model[0].weight.requires_grad_(False)
    frozen = model[0].weight.detach().clone()
    rest = model[2].bias.detach().clone()
    run = training(
        model=model, nowcaster=tools.const(3.0), make_base=lambda ps: torch.optim.SGD(list(ps)[:3], lr=0.1)
    ).run(10)
    assert torch.equal(model[0].weight, frozen)
    assert torch.equal(model[2].bias, rest)
    assert bool((model[0].bias == 3.0).all() and (model[2].weight == 3.0).all())
    assert run.opt.counts["kept"] == 1


def test_every_parameter_keeps_its_own_storage_and_memory_format(tools, tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2)).to(memory_format=torch.channels_last)
    model.register_parameter("scale", nn.Parameter(torch.tensor(1.0)))
    strides = [p.stride() for p in model.parameters()]
    pointers = [p.data_ptr() for p in model.parameters()]
    base = torch.optim.SGD(model.parameters(), lr=0.1)
    opt = NiNo(base, model=model, period=5, max_train_steps=5, nowcaster=tools.line(), graph=tools.graph(model))
    for _ in range(5):
        if opt.need_grads:
            opt.zero_grad()
            (model(torch.ones(2, 3, 3, 3)).square().mean() * model.scale).backward()
        opt.step()
    assert opt.last_nowcast.accepted
    assert strides == [p.stride() for p in model.parameters()]
    assert pointers == [p.data_ptr() for p in model.parameters()]
    torch.save(model[2].bias, tmp_path / "bias.pt")
    assert (tmp_path / "bias.pt").stat().st_size < 3000


def test_tied_weights_are_nowcast_once(tools):
    model = nn.ModuleDict({"wte": nn.Embedding(5, 4), "head": nn.Linear(4, 5, bias=False)})
    model["head"].weight = model["wte"].weight
    nowcaster = tools.const(2.0)
    base = torch.optim.SGD(model.parameters(), lr=0.1)
    opt = NiNo(
        base, model=model, period=5, max_train_steps=5, nowcaster=nowcaster, graph=tools.graph(model), still="predict"
    )
    for _ in range(5):
        opt.step()
    assert nowcaster.calls[0][0].shape == (20, 5)
    assert model["head"].weight is model["wte"].weight and bool((model["wte"].weight == 2.0).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_get_a_float32_nowcast_rounded_once(training, tools, dtype):
    model = tools.model().to(dtype)
    run = training(model=model, period=5, make_base=lambda ps: torch.optim.SGD(ps, lr=0.05), horizons=3)
    states = []
    for _ in range(5):
        states.append(run.flat().float())
        run.step()
    expected = (states[-1] + 3 * (states[-1] - states[-2])).to(dtype)
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert run.opt.last_nowcast.accepted
    assert torch.allclose(run.flat(), expected.double(), rtol=0 if dtype.itemsize == 2 else 1e-6, atol=0)


def test_a_prediction_that_overflows_the_dtype_is_dropped(training, tools):
    model = tools.model().half()
    run = training(model=model, nowcaster=tools.const(1e6), make_base=lambda ps: torch.optim.SGD(ps, lr=0.05)).run(9)
    before = run.flat()
    run.step()
    assert torch.equal(run.flat(), before)
    assert run.opt.last_nowcast.finite is False and run.opt.counts["put back"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_prediction_that_is_not_finite_changes_nothing(training, tools, value, caplog):
    run = training(nowcaster=tools.const(value)).run(9)
    before = run.flat()
    run.step()
    assert torch.equal(run.flat(), before)
    assert not run.opt.last_nowcast.accepted and "not finite" in caplog.text
    run.run(20)
    assert run.opt.counts == {"kept": 0, "put back": 3, "left out": 0} and bool(run.flat().isfinite().all())


def test_nan_parameters_leave_the_base_optimizer_to_go_on_alone(training, caplog):
    run = training().run(5)
    with torch.no_grad():
        run.model[0].bias[0] = torch.nan
    run.run(4)
    assert run.opt.need_grads and not run.opt.nowcast_next
    run.step()
    assert run.opt.counts["left out"] == 1 and len(run.opt.history) == 0
    assert "parameter '0.weight' holds NaN" in caplog.text or "parameter '0.bias' holds NaN" in caplog.text
    assert next(iter(run.opt.state.values()))["step"] == 10


@pytest.mark.parametrize("value", [1e16, 1.9e19, 3e38])
@pytest.mark.parametrize("when", [2, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parameters_whose_squares_float32_does_not_hold_are_as_nan(training, caplog, value, when, dtype):
    """NiNo measures how the states scatter: it would raise."""
    from nino.graphs import neural_graph
    from nino.nowcasters import NiNoNet

    model = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 1))
    run = training(
        model=model,
        graph=neural_graph(model),
        nowcaster=NiNoNet(hidden=4),
        make_base=lambda ps: torch.optim.SGD(ps, lr=0.0),
        history_dtype=dtype,
    )
    run.run(when)
    with torch.no_grad():
        run.model[0].weight.fill_(value)
    run.run(10 - when)
    usable = value < 1e18
    assert run.opt.counts["left out"] == (0 if usable else 1), caplog.text
    assert ("parameter '0.weight' holds NaN, infinity or more than" in caplog.text) is not usable
    if not usable:
        assert run.opt.last_nowcast is None and run.opt.counts["kept"] == 0


def test_it_recovers_from_nan(training):
    run = training().run(5)
    good = copy.deepcopy(run.model.state_dict())
    with torch.no_grad():
        run.model[2].bias[0] = torch.nan
    run.run(1)
    run.model.load_state_dict(good)
    run.opt.state.clear()
    run.run(4)
    assert run.opt.counts["left out"] == 1
    run.run(10)
    assert run.opt.counts["kept"] == 1 and run.opt.last_nowcast.step == 20


def test_an_error_in_the_nowcaster_changes_nothing_and_can_be_stepped_over(training, tools):
    class Fails(tools.line):
        def predict(self, graph, states, k, **options):
            raise MemoryError("too large")

    run = training(nowcaster=Fails()).run(9)
    before = run.flat()
    for _ in range(3):
        with pytest.raises(MemoryError):
            run.opt.step()
    assert torch.equal(run.flat(), before) and run.opt.steps == 9 and len(run.opt.history) == 5
    run.opt.enabled = False
    run.run(5)
    assert run.opt.steps == 14 and run.opt.counts["kept"] == 0


@pytest.mark.usefixtures("unchecked")  # beartype draws random numbers
def test_the_global_random_numbers_are_those_of_a_training_without(training, tools):
    class Noise(tools.line):
        def predict(self, graph, states, k, **options):
            return states[:, -1] + 0.01 * torch.randn(states.shape[0])

    def draws(nowcaster):
        torch.manual_seed(3), np.random.seed(3), random.seed(3)
        training(nowcaster=nowcaster, loss=True, model=nn.Sequential(nn.Linear(6, 1), nn.Dropout(0.0))).run(20)
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    torch.manual_seed(0)
    reference = draws(None)
    assert draws(Noise()) == reference


def test_options_are_independent_of_each_other(training, tools):
    nowcaster = tools.const(0.1, context=None)
    run = training(nowcaster=nowcaster, period=9, context=3, spacing=2, horizons=[7, 2], total=None)
    states = []
    for _ in range(27):
        states.append(run.flat().float())
        run.step()
    assert [k for _, k in nowcaster.calls] == [7, 2, 2]
    assert torch.equal(nowcaster.calls[0][0], torch.stack([states[i] for i in (4, 6, 8)], 1))


@pytest.mark.usefixtures("unchecked")
def test_bad_arguments_are_named(training, tools):
    other = tools.model()
    with pytest.raises(ValueError, match="`base_opt` holds a parameter that `model` has not: number 0 of group 0"):
        training(make_base=lambda ps: torch.optim.SGD(other.parameters(), lr=0.1))
    with pytest.raises(ValueError, match=r"`context` \(=3\) must be 5, the states that Const reads"):
        training(nowcaster=tools.const(0.0), context=3)
    with pytest.raises(ValueError, match="`accept`"):
        training(accept="always")
    with pytest.raises(ValueError, match="`update_scale`"):
        training(update_scale=float("nan"))
    with pytest.raises(TypeError, match="`model` is a NoneType"):
        NiNo(torch.optim.SGD(other.parameters(), lr=0.1))
    with pytest.raises(TypeError, match="`base_opt` is a Sequential"):
        NiNo(other, model=other)
    with pytest.raises(ValueError, match="`graph` is of another model: parameter '0.weight'"):
        training(graph=tools.graph(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="`history`"):
        training(history="tape")
    with pytest.raises(ValueError, match="`history_dtype`"):
        training(history_dtype=torch.int8)
    with pytest.raises(ValueError, match="complex64"):
        model = nn.ParameterList([torch.ones(1, dtype=torch.complex64)])
        NiNo(torch.optim.SGD(model.parameters(), lr=0.1), model=model, nowcaster=tools.line())


def test_horizons_beyond_the_nowcaster_are_refused(training, tools):
    nowcaster = tools.const(0.0)
    nowcaster.max_horizon = 20
    with pytest.raises(ValueError, match=r"`max_horizon` or `horizons` \(=40\) reaches further than the 20 states"):
        training(nowcaster=nowcaster)


def test_without_a_nowcaster_nothing_has_to_be_planned(tools):
    model = tools.model()
    for options in ({}, {"period": 1001}, {"max_train_steps": 5}):
        opt = NiNo(torch.optim.SGD(model.parameters(), lr=0.1), None, model, **options)
        for _ in range(12):
            assert opt.need_grads
            opt.step()
        assert opt.steps == 12 and opt.last_nowcast is None
    with pytest.raises(ValueError, match="no nowcaster to enable"):
        opt.enabled = True


def test_nowcasting_switched_on_within_a_period_waits_for_the_next(training, caplog):
    run = training()
    run.opt.enabled = False
    run.run(5)
    run.opt.enabled = True
    run.run(5)
    assert run.opt.counts == {"kept": 0, "put back": 0, "left out": 1} and "only 0 of 4 earlier states" in caplog.text
    assert run.run(10).opt.counts["kept"] == 1
