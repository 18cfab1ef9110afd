"""Acceptance by the loss, measured losses and the hooks around a nowcast."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nino.optim import NiNo, NowcastRecord


def test_a_nowcast_that_raises_the_loss_is_put_back_and_the_base_step_taken(training, tools):
    rejecting = training(nowcaster=tools.const(50.0), accept="loss", loss=True)
    plain = training(nowcaster=None)
    assert all(rejecting.opt.need_grads and rejecting.step() for _ in range(25))
    plain.run(25)
    assert torch.equal(rejecting.flat(), plain.flat())
    assert rejecting.opt.counts == {"kept": 0, "put back": 2, "left out": 0}
    for a, b in zip(rejecting.opt.state.values(), plain.opt.state.values(), strict=True):
        assert torch.equal(a["exp_avg"], b["exp_avg"]) and a["step"] == b["step"] == 25


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_what_is_put_back_is_the_state_to_the_bit(training, tools, dtype):
    model = tools.model().to(dtype)
    run = training(
        model=model, nowcaster=tools.const(50.0), accept="loss", loss=True,
        make_base=lambda ps: torch.optim.SGD(ps, lr=0.0, weight_decay=0.0), history_dtype=torch.float16,
        still="predict",
    ).run(9)  # fmt: skip
    before = run.flat()
    assert torch.equal(run.step().flat(), before) and run.opt.last_nowcast.accepted is False


def test_a_nowcast_that_does_not_raise_the_loss_is_kept(training, tools):
    class Best(tools.line):
        def predict(self, graph, states, k, **options):
            return states[:, -1].clone()

    run = training(nowcaster=Best(), accept="loss", loss=True).run(10)
    record = run.opt.last_nowcast
    assert record.accepted and record.loss_after == record.loss_before and record.norm == 0


def test_a_closure_serves_as_the_loss(training, tools):
    rejecting = training(nowcaster=tools.const(50.0), accept="loss").run(25, closure=True)
    assert torch.equal(rejecting.flat(), training(nowcaster=None).run(25).flat())
    assert rejecting.opt.last_nowcast.loss_after > rejecting.opt.last_nowcast.loss_before


def test_accept_loss_without_a_loss_is_an_error_that_can_be_mended(training):
    run = training(accept="loss").run(9)
    before = run.flat()
    with pytest.raises(ValueError, match="accept='loss' needs a loss: set `opt.loss`"):
        run.step()
    assert torch.equal(run.flat(), before) and run.opt.steps == 9
    run.opt.loss = run.loss
    assert run.step().opt.last_nowcast.step == 10


def test_a_loss_that_is_nan_after_the_nowcast_is_put_back(training, tools):
    run = training(nowcaster=tools.const(0.5), accept="loss")
    run.opt.loss = lambda: torch.nan if bool((run.flat() == 0.5).all()) else 1.0
    run.run(10)
    assert run.opt.counts["put back"] == 1 and not bool((run.flat() == 0.5).any())


@pytest.mark.parametrize("accept", ["finite", "loss"])
def test_a_loss_that_raises_after_the_jump_leaves_all_as_it_was(training, tools, accept):
    run = training(nowcaster=tools.const(0.5), accept=accept).run(9)
    before, asked = run.flat(), []

    def loss():
        asked.append(run.flat())
        if len(asked) == 2:
            raise MemoryError("too large")
        return 1.0

    run.opt.loss = loss
    with pytest.raises(MemoryError):
        run.step()
    assert bool((asked[1] == 0.5).all()) and torch.equal(run.flat(), before)
    assert run.opt.steps == 9 and run.opt.counts == {"kept": 0, "put back": 0, "left out": 0}
    assert run.opt.nowcasting.watch is None
    assert run.step().opt.counts["kept"] == 1 and bool((run.flat() == 0.5).all())
    run.opt.enabled = False
    assert run.run(2).opt.counts["kept"] == 1


def test_a_loss_closure_must_return_a_number(training):
    run = training()
    counter = torch.zeros(1)
    run.model.register_buffer("counter", counter)
    run.opt.loss = lambda: "low" if counter.add_(1) else 1.0
    with pytest.raises(ValueError, match="returned a str"):
        run.run(10)
    assert counter == 0 and run.opt.steps == 9


def test_measuring_the_loss_changes_nothing(tools):
    """Dropout draws and batch statistics are those of the training that measures nothing."""

    def train(measure):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        x = torch.randn(16, 6)
        opt = NiNo(
            torch.optim.Adam(model.parameters()), None, model, 5, 10, nowcaster=tools.line(), graph=tools.graph(model)
        )
        opt.loss = (lambda: model(x).square().mean()) if measure else None
        for _ in range(10):
            if opt.need_grads:
                opt.zero_grad()
                model(x).square().mean().backward()
            opt.step()
        assert (opt.last_nowcast.loss_after is not None) == measure
        return torch.cat([v.double().flatten() for v in model.state_dict().values()]), torch.rand(2)

    for a, b in zip(train(True), train(False), strict=True):
        assert torch.equal(a, b)


def test_hooks_see_what_is_known_before_and_after(training):
    run = training(loss=True)
    before, after = [], []
    first = run.opt.register_nowcast_pre_hook(lambda opt, record: before.append((record, opt.steps)))
    run.opt.register_nowcast_post_hook(lambda opt, record: after.append(record))
    run.run(10)
    ((known, steps),) = before
    assert known == NowcastRecord(10, 40, loss_before=known.loss_before) and known.loss_before > 0 and steps == 9
    (record,) = after
    assert record is run.opt.last_nowcast and record.loss_before == known.loss_before
    assert record.accepted and record.finite and record.norm > 0 and record.loss_after > 0
    first.remove()
    run.run(10)
    assert len(before) == 1 and len(after) == 2


def test_a_reported_loss_is_no_part_of_the_nowcast_s_seconds(training):
    import time

    def slow():
        time.sleep(0.2)
        return 1.0

    finite, by_loss = training(), training(accept="loss")
    finite.opt.loss = by_loss.opt.loss = slow
    assert finite.run(10).opt.last_nowcast.seconds < 0.1
    assert by_loss.run(10).opt.last_nowcast.seconds > 0.4


def test_every_nowcast_is_logged(training, tools, caplog):
    caplog.set_level("INFO", "nino.optim")
    training(loss=True).run(10)
    training(nowcaster=tools.const(50.0), accept="loss", loss=True).run(10)
    kept, back = [r.getMessage() for r in caplog.records]
    assert kept.startswith("step 10: nowcast k=40 kept (") and "loss" in kept
    assert back.startswith("step 10: nowcast k=40 put back (")
