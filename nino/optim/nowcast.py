"""A nowcast step: save the last state, predict, check, write, and put back what is not wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nino.optim.jump import Jump, Target, agree, loss_of, same_rng, snapshot, write
from nino.optim.record import NowcastRecord

if TYPE_CHECKING:
    from nino.optim.wrapper import NiNo

log = logging.getLogger("nino.optim")


def take_nowcast(opt: NiNo, step: int, closure: Callable[[], Any] | None) -> Any:
    """Let the nowcaster take step ``step`` or, where its jump is not kept, the base optimizer.

    Args:
        opt: the wrapper; all earlier states of the period are saved.
        step: the step, counting from 1.
        closure: as given to ``opt.step``.

    Returns:
        The closure's loss before the nowcast; None without a closure.

    Raises:
        ValueError: if ``accept="loss"`` has no loss to go by. Like every error of the nowcaster, it leaves the
            parameters as they were, and the step may be taken again.
    """
    opt.history.save(opt.schedule.context - 1)
    measure = opt.loss or (closure if opt.accept == "loss" else None)
    if opt.accept == "loss" and measure is None:
        raise ValueError(
            "accept='loss' needs a loss: set `opt.loss` to a function that returns it, or pass a closure to `step`"
        )
    result, before = None, None
    if closure is not None and measure is not closure:
        with same_rng(), torch.enable_grad():
            result = closure()
    clock = perf_counter()
    if measure is not None:
        before = loss_of(opt.model, measure, grad=measure is closure, group=opt.process_group)
        result = before if measure is closure else result
    lap = perf_counter() - clock if opt.accept == "loss" else 0.0
    record = NowcastRecord(step, opt.schedule.horizon(step), loss_before=before)
    for hook in list(opt.nowcast_pre_hooks.values()):
        hook(opt, record)
    record = _jump(opt, record, measure, measure is closure, lap)
    opt.last_nowcast = record
    opt.counts["kept" if record.accepted else "put back"] += 1
    log.log(logging.INFO if record.accepted else logging.WARNING, "%s", record)
    for hook in list(opt.nowcast_post_hooks.values()):
        hook(opt, record)
    if record.accepted:
        return result
    if closure is not None:
        return opt.base.step(closure)
    # Without accept="loss" nobody computed gradients for this step: the old ones must not serve twice.
    return opt.base.step() if opt.accept == "loss" else None


def _jump(
    opt: NiNo, record: NowcastRecord, measure: Callable[[], Any] | None, grad: bool, seconds: float
) -> NowcastRecord:
    """Predict, check, write and, where the loss says so, put back; ``seconds`` were spent before."""
    clock = perf_counter()
    targets = targets_of(opt)
    jump, finite, norm = _proposal(opt, record, targets)
    accepted, after = finite, None
    if finite:
        restore = snapshot(targets) if opt.accept == "loss" else None
        write(jump, targets, opt.process_group)
        _synchronize(targets)
        written = perf_counter()
        if measure is not None:
            after = loss_of(opt.model, measure, grad=grad, group=opt.process_group)
        if restore is not None and not _not_above(after, record.loss_before):
            accepted = False
            restore()
        # A loss that is only reported is no part of the nowcast's cost.
        seconds += (written if opt.accept == "finite" else perf_counter()) - clock
    else:
        seconds += perf_counter() - clock
    return NowcastRecord(record.step, record.k, seconds, norm, finite, accepted, record.loss_before, after)


def _not_above(after: float | None, before: float | None) -> bool:
    """Whether the loss did not rise; NaN has risen."""
    return after is not None and before is not None and after <= before


def _proposal(opt: NiNo, record: NowcastRecord, targets: list[Target]) -> tuple[Jump | None, bool, float]:
    """Rank 0's jump (None elsewhere), whether it is finite, and its norm; an error there is one everywhere."""
    jump: Jump | None = None
    verdict: tuple[bool, float, str | None] = (False, 0.0, None)
    if opt.history.hold:
        try:
            with torch.no_grad(), same_rng(), _full_precision(opt):
                jump = _predict(opt, record)
                verdict = (*jump.measure(targets), None)
        except Exception as error:
            agree((False, 0.0, f"{type(error).__name__}: {error}"), opt.process_group)
            raise
    finite, norm, failure = agree(verdict, opt.process_group)
    if failure is not None:
        raise RuntimeError(f"step {record.step}: the nowcast failed on rank 0: {failure}")
    return jump, finite, norm


@contextmanager
def _full_precision(opt: NiNo) -> Iterator[None]:
    """Switch off an ``autocast`` that the step is called in: a nowcast is computed in float32."""
    with ExitStack() as stack:
        for kind in {"cpu", *(p.device.type for p in opt.named.values())}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _predict(opt: NiNo, record: NowcastRecord) -> Jump:
    assert opt.nowcaster is not None and opt.graph is not None  # no nowcast is due without
    parameters = list(opt.named.values())
    if isinstance(opt.nowcaster, nn.Module):
        # The network computes where its weights are, and fetches the states from where they are a chunk at a time.
        opt.nowcaster.to(opt.device or parameters[0].device)
    states = opt.history.states()
    if hasattr(opt.nowcaster, "at_step"):  # what is derived from no class of ours may lack it
        opt.nowcaster.at_step(record.step)
    prediction = opt.nowcaster.predict(opt.graph, states, record.k, memory_budget=opt.memory_budget)
    exact = states.dtype == torch.float32 and all(p.dtype.itemsize <= 4 for p in parameters)
    return Jump(prediction, None if exact else states[:, -1], opt.update_scale)


def targets_of(opt: NiNo) -> list[Target]:
    """The parameters that nowcasts write: trained by the base optimizer, not frozen, on an edge of the graph."""
    assert opt.graph is not None
    held = {id(p) for group in opt.param_groups for p in group["params"]}
    carried = set(opt.graph.carried)
    return [
        Target(parameter, place.offset)
        for place, parameter in zip(opt.graph.parameters, opt.named.values(), strict=True)
        if parameter.requires_grad and id(parameter) in held and place.name not in carried
    ]


def _synchronize(targets: list[Target]) -> None:
    """Wait for the GPUs, so that timings are true."""
    for device in {t.parameter.device for t in targets if t.parameter.device.type == "cuda"}:
        torch.cuda.synchronize(device)
