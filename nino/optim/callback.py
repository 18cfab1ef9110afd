"""NiNo in a Hugging Face ``Trainer``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from itertools import islice
from traceback import walk_stack
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler

from nino.optim.shards import is_sharded
from nino.optim.wrapper import NiNo

log = logging.getLogger("nino.optim")


class NowcastCallback(TrainerCallback):
    """Reports nowcasts as the ``Trainer`` reports everything, through ``on_log``, and may measure their loss.

    So they reach ``trainer.state.log_history``, ``trainer_state.json`` and every callback that the ``Trainer`` has for
    W&B, TensorBoard or the console; the wrapper's own line a nowcast is switched off.

    ``Trainer(..., optimizers=(NiNo(...), None), callbacks=[NowcastCallback()])`` is all that a ``Trainer`` needs: it
    attaches its scheduler to the wrapper, and saves and resumes the wrapper's state with its checkpoints.

    Args:
        batch: keyword arguments of the model, labels among them; the loss on it is measured before and after every
            nowcast, and decides where the optimizer has ``accept="loss"``. None measures nothing.
    """

    def __init__(self, batch: Mapping[str, Any] | None = None) -> None:
        """See the class."""
        self.batch = batch
        self._reported = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Find the wrapper, give it the batch, compare its schedule with the run's length.

        Raises:
            TypeError: if the trainer's optimizer is not a ``NiNo``.
        """
        opt = wrapper_of(kwargs["optimizer"])
        self._reported = opt.steps
        opt.verbose = False
        if self.batch is not None:
            opt.loss = _loss(kwargs["model"], self.batch)
        planned = len(opt.schedule.nowcasts(state.max_steps))
        if len(opt.schedule.horizons) not in (1, planned):
            log.warning(
                "the run has %d steps and so %d nowcasts, but `max_train_steps` gave NiNo horizons for %d",
                state.max_steps,
                planned,
                len(opt.schedule.horizons),
            )
        return control

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Report the nowcast if this step was one, and prepare for saving."""
        opt = wrapper_of(kwargs["optimizer"])
        _gather(opt, control)
        record = opt.last_nowcast
        if record is not None and record.step > self._reported:
            self._reported = record.step
            logs = {f"nowcast_{name}": value for name, value in record.numbers().items()}
            if state.epoch is not None:
                logs["epoch"] = state.epoch
            state.log_history.append({**logs, "step": state.global_step})
            if (handler := _handler()) is not None:
                due = control.should_log  # the Trainer's own report of this step, which this one does not replace
                control = handler.on_log(args, state, control, logs)
                control.should_log = due
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Prepare for saving, where epochs are saved."""
        _gather(wrapper_of(kwargs["optimizer"]), control)
        return control


def _gather(opt: NiNo, control: TrainerControl) -> None:
    """Let rank 0, which alone asks for the optimizer's state, have what all ranks hold of whole parameters."""
    if control.should_save and not any(map(is_sharded, opt.named.values())):
        opt.gather_states()


def _handler(depth: int = 8) -> CallbackHandler | None:
    """Who called this callback: it holds all callbacks, and the ``Trainer`` hands these no other way to log."""
    callers = (frame.f_locals.get("self") for frame, _ in islice(walk_stack(sys._getframe(1)), depth))
    return next((caller for caller in callers if isinstance(caller, CallbackHandler)), None)


def wrapper_of(optimizer: Any) -> NiNo:
    """The ``NiNo`` behind whatever ``accelerate`` has put around it.

    Raises:
        TypeError: if there is none.
    """
    inner = optimizer
    while not isinstance(inner, NiNo) and hasattr(inner, "optimizer"):
        inner = inner.optimizer
    if not isinstance(inner, NiNo):
        raise TypeError(
            f"the trainer's optimizer is a {type(inner).__name__}: pass `optimizers=(NiNo(...), None)` to the Trainer"
        )
    return inner


def _loss(model: nn.Module, batch: Mapping[str, Any]) -> Any:
    def loss() -> Tensor:
        device = next(model.parameters()).device
        moved = {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
        return model(**moved).loss

    return loss
