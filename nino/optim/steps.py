"""Taking steps: the base optimizer's, and once a period a nowcast in place of one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import nn

from nino.device import same_rng
from nino.optim.checks import check_accept, check_unreplaced
from nino.optim.copies import require_training_mode
from nino.optim.loss import loss_of
from nino.optim.nowcast_record import NowcastRecord
from nino.optim.nowcasting import Nowcasting
from nino.optim.optimizer_view import OptimizerLike, OptimizerView
from nino.optim.progress import Progress
from nino.optim.recording import record_in_next_pass
from nino.optim.shards import reshard
from nino.optim.surroundings import outside_graphs, refuse_lost_settings


def forwarded(part: str, name: str) -> Any:
    """An attribute of the optimizer that lies in one of its parts."""
    return property(
        lambda opt: getattr(getattr(opt, part), name), lambda opt, value: setattr(getattr(opt, part), name, value)
    )


class NowcastSteps(OptimizerView):
    """An optimizer whose steps are those of ``base``, or nowcasts.

    Args:
        base: takes most of the steps.
        model: whose parameters are nowcast.
        nowcasting: takes the nowcasts.
        progress: the steps so far, and how nowcasts are accepted.
    """

    def __init__(self, base: OptimizerLike, model: nn.Module, nowcasting: Nowcasting, progress: Progress) -> None:
        """See the class."""
        super().__init__(base)
        self.model, self.nowcasting, self.progress = model, nowcasting, progress
        self._plan()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy, whose graph is recorded in the next forward pass of the model that was copied with it."""
        super().__setstate__(state)
        nowcasting = state.get("nowcasting")
        if nowcasting is not None and nowcasting.graph is None and nowcasting.to_record is not None:
            record_in_next_pass(nowcasting, self.model, self.model)

    steps, last_nowcast = forwarded("progress", "steps"), forwarded("progress", "last_nowcast")
    loss = forwarded("progress", "loss")

    @property
    def accept(self) -> str:
        """``finite`` or ``loss``: which nowcasts are kept."""
        return self.progress.accept

    @accept.setter
    def accept(self, value: str) -> None:
        self.progress.accept = check_accept(value)

    @property
    def enabled(self) -> bool:
        """Whether nowcasts take place; set it to False to go on with the base optimizer alone."""
        return self.progress.enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        if value and self.nowcasting.nowcaster is None:
            raise ValueError("there is no nowcaster to enable: pass `ckpt` or `nowcaster`")
        self.progress.enabled = value
        self.nowcasting.history.clear()
        self._plan()

    @property
    def need_grads(self) -> bool:
        """Whether the next step needs gradients: all steps do but nowcasts with ``accept="finite"``."""
        progress = self.progress
        return progress.steps + 1 != progress.next_nowcast or progress.accept == "loss" or not self.nowcasting.ready()

    @property
    def nowcast_next(self) -> bool:
        """Whether the next step is a nowcast."""
        return self.progress.steps + 1 == self.progress.next_nowcast and self.nowcasting.ready()

    @property
    def next_horizon(self) -> int:
        """The horizon k of the next nowcast, in states."""
        schedule = self.nowcasting.schedule
        return schedule.horizon(schedule.next_nowcast(self.progress.steps))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters of the base optimizer.

        Before a nowcast that needs none, the smallest parameter keeps a gradient of zeros: a ``GradScaler`` refuses to
        step where it finds no gradient at all.
        """
        self.base.zero_grad(set_to_none=set_to_none)
        if set_to_none and not self.need_grads:
            trained = [p for group in self.base.param_groups for p in group["params"] if p.requires_grad]
            for smallest in sorted(trained, key=torch.Tensor.numel)[:1]:
                smallest.grad = torch.zeros_like(smallest)

    # -- steps -----------------------------------------------------------------------------------------------------

    def _take_step(self, closure: Callable[[], Any] | None) -> Any:
        progress = self.progress
        step = progress.steps + 1
        if step >= progress.next_stop:
            return self._take_marked_step(closure)
        result = self.base.step() if closure is None else self.base.step(closure)  # the common case: nothing more
        progress.steps = step
        return result

    @outside_graphs
    def _take_marked_step(self, closure: Callable[[], Any] | None) -> Any:
        """A step that saves a state, is a nowcast, or follows one."""
        progress = self.progress
        step, nowcasting = progress.steps + 1, self.nowcasting
        refuse_lost_settings(self)
        reshard(self.model)
        check_unreplaced(self.model, nowcasting.named)
        due = step == progress.next_nowcast
        if due and nowcasting.ready():
            result = self._take_nowcast(step, closure)
        else:
            if due:
                nowcasting.leave_out(step)
            else:
                nowcasting.save(step)
            watch, nowcasting.watch = nowcasting.watch, None
            watch = watch if watch is not None and watch.lasts() else None
            result = self.base.step() if closure is None else self.base.step(closure)
            if watch is not None and not watch.check(step):
                nowcasting.counts["kept"] -= 1
                nowcasting.counts["taken back"] = nowcasting.counts.get("taken back", 0) + 1
        if due:
            nowcasting.history.clear()
        progress.steps = step
        self._plan()
        return result

    def _take_nowcast(self, step: int, closure: Callable[[], Any] | None) -> Any:
        """Let the nowcaster take step ``step``; where its jump is not kept, the base optimizer, if it has gradients.

        Returns:
            The closure's loss before the nowcast; None without a closure.

        Raises:
            ValueError: if ``accept="loss"`` has no loss to go by. Like every error of the nowcaster and of the
                loss, it leaves the parameters as they were, and the step may be taken again.
        """
        require_training_mode(self.base)
        self.nowcasting.save(step)
        progress = self.progress
        decides = progress.accept == "loss"
        source = progress.loss or (closure if decides else None)
        if decides and source is None:
            raise ValueError(
                "accept='loss' needs a loss: set `opt.loss` to a function that returns it, or pass a closure to `step`"
            )
        ranks = self.nowcasting.ranks
        measure = source and partial(loss_of, self.model, source, grad=source is closure, ranks=ranks)
        result, before = None, None
        if closure is not None and source is not closure:
            with same_rng(), torch.enable_grad():
                result = closure()
        clock = perf_counter()
        if measure is not None:
            before = measure()
            result = before if source is closure else result
        seconds = perf_counter() - clock if decides else 0.0
        record = NowcastRecord(step, self.nowcasting.schedule.horizon(step), loss_before=before)
        for hook in list(progress.pre_hooks.values()):
            hook(self, record)
        record = self.nowcasting.take(record, measure, decides=decides, seconds=seconds)
        progress.last_nowcast = record
        for hook in list(progress.post_hooks.values()):
            hook(self, record)
        if record.accepted:
            return result
        if closure is not None:
            return self.base.step(closure)
        # Without accept="loss" nobody computed gradients for this step: the old ones must not serve twice.
        return self.base.step() if decides else None

    def resume(self, nowcasts: dict[str, Any], of_base: dict[str, Any] | None = None) -> None:
        """Go on with the nowcasts of a state and, where it is given, the base optimizer's part of it."""
        enabled = bool(nowcasts["enabled"]) and self.nowcasting.nowcaster is not None
        self.nowcasting.require_own(nowcasts, enabled)
        if of_base is not None:
            self.base.load_state_dict(of_base)
        self.nowcasting.load_state_dict(nowcasts, enabled)
        progress = self.progress
        progress.steps, progress.last_nowcast, progress.enabled = int(nowcasts["step"]), None, enabled
        self._plan()

    def _plan(self) -> None:
        progress, schedule = self.progress, self.nowcasting.schedule
        progress.next_nowcast = schedule.next_nowcast(progress.steps) if progress.enabled else math.inf
        progress.next_stop = schedule.next_save(progress.steps) if progress.enabled else math.inf
        if progress.enabled and self.nowcasting.ranks.world > 1:  # they agree at the end of the step before a nowcast
            if progress.steps + 1 == progress.next_nowcast:
                self.nowcasting.agree()
            else:
                progress.next_stop = min(progress.next_stop, progress.next_nowcast - 1)
        if self.nowcasting.watch is not None:
            progress.next_stop = progress.steps + 1
