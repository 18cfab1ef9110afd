"""One run, step by step: train, nowcast, evaluate and log."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from nino.evaluate.clock import Clock
from nino.evaluate.jumps import jump_rows
from nino.evaluate.losses_near_nowcasts import LossesNearNowcasts
from nino.evaluate.run_folder import JUMPS, LOG, LOSSES, NOWCASTS
from nino.evaluate.states import StateFolders
from nino.evaluate.target.first_hit import TargetCheck
from nino.optim import NiNo
from nino.optim.nowcast_record import NowcastRecord
from nino.tasks import Batch
from nino.training import Training

Row = dict[str, Any]


class DivergedError(Exception):
    """The training loss is not finite any more; the message says its value and the step."""


class EvaluatedTraining:
    """A training that logs the rows of ``log.csv``, ``nowcasts.csv``, ``jumps.csv`` and ``around.csv``.

    A row is logged every ``test_every`` steps and after the last step. If such a step is a nowcast and the task says
    ``at_nowcast: before``, the network is measured before the nowcast. If the task says ``hardest_first``, steps that
    `TargetCheck` rules out, and all steps after the first hit, get no row unless the validation metric is due; the
    first row that meets the target stays the same. ``train_loss`` is the mean over the gradient steps since the last
    row, each loss taken before its update; it is empty if all of them were nowcasts.

    ``loss_before`` and ``loss_after`` of a nowcast are losses on the step's own batch, which no update has seen. If the
    loss decides whether a nowcast is accepted, they are the two losses that decided. A nowcast that was rejected
    without measuring has no ``loss_after``.

    Args:
        training: the run.
        free: whether to leave nowcasts out of the nowcasting seconds, as for the oracle.
        states: where to save states now and then; saving is charged to no part of the clock.

    Attributes:
        rows: of ``log.csv``.
        nowcasts: rows of ``nowcasts.csv``.
        jumps: rows of ``jumps.csv``, one per nowcast and parameter tensor, see `nino.evaluate.jumps.jump_rows`.
        losses_near_nowcasts: see `nino.evaluate.losses_near_nowcasts.LossesNearNowcasts`.
        clock: seconds of ``train``, ``evaluation``, ``nowcast`` and ``free``.
    """

    def __init__(self, training: Training, free: bool = False, states: StateFolders | None = None) -> None:
        """See the class."""
        self.training = training
        self._states = states
        self.rows: list[Row] = []
        self.nowcasts: list[Row] = []
        self.jumps: list[Row] = []
        self.losses_near_nowcasts = LossesNearNowcasts()
        self.clock = Clock(("train", "evaluation", "nowcast", "free"), training.task.device)
        self._jump_part = "free" if free else "nowcast"
        self._losses: list[tuple[int, Tensor | float]] = []
        self._steps = training.task.spec.recipe.steps
        training.task.metric  # noqa: B018  # one that cannot be imported is an error before the first step
        self._every = training.task.spec.evaluation
        self._target = TargetCheck(training.task) if self._every.hardest_first else None
        self._hit = False
        self._measured = False  # whether the current step has been measured already, before it was taken

    @property
    def finished(self) -> bool:
        """Whether all steps of the recipe are done."""
        return self.training.steps >= self._steps

    def advance(self) -> bool:
        """Take the next step and measure if that is due.

        Returns:
            Whether a row was added.

        Raises:
            DivergedError: if a loss since the last row was not finite; no row is added then.
        """
        rows = len(self.rows)
        if self.begin():
            self.clock.switch("train")
            self.record(self.training.step())
        self.end()
        return len(self.rows) > rows

    def begin(self) -> bool:
        """Do what precedes the next step, and the step itself if it is a nowcast.

        Returns:
            Whether the step is still to be taken by the base optimizer. The caller takes it, passes its loss to
            `record`, and in either case calls `end` last.

        Raises:
            DivergedError: as `advance`.
        """
        if self._states is not None and self._states.due(self.training.steps + 1):
            self.pause()
            self._states.write(self.training.model, self.training.steps + 1)
        is_nowcast = getattr(self.training.optimizer, "nowcast_next", False)
        self._measured = is_nowcast and self._every.at_nowcast == "before"
        if self._measured and self._due(self.training.steps + 1):
            self._measure(self.training.steps + 1)
        if is_nowcast:
            self._nowcast()
        return not is_nowcast

    def record(self, loss: Tensor | None) -> None:
        """Log the loss of a step that has been taken; None if it had none."""
        if loss is not None:
            self._losses.append((self.training.steps, loss))
            self.losses_near_nowcasts.step(self.training.steps, loss)

    def end(self) -> None:
        """Measure after a step if that is due.

        Raises:
            DivergedError: as `advance`.
        """
        if not self._measured and self._due(self.training.steps):
            self._measure(self.training.steps)

    def _due(self, step: int) -> bool:
        return step % self._every.test_every == 0 or step == self._steps

    def pause(self) -> None:
        """Stop the clock until the next step."""
        self.clock.switch(None)

    def _check(self) -> None:
        """Check the losses since the last row.

        Raises:
            DivergedError: if one of them is not finite.
        """
        self._losses = [(step, float(loss)) for step, loss in self._losses]
        for step, loss in self._losses:
            if not math.isfinite(loss):
                raise DivergedError(f"the training loss became {loss} at step {step}")

    def _measure(self, step: int) -> None:
        self.clock.switch("evaluation")
        validate = step % self._every.validation_every == 0 or step == self._steps
        if self._target is not None and not validate and (self._hit or self._target.rules_out(self.training.model)):
            return
        self._check()
        losses = [float(loss) for _, loss in self._losses]
        self._losses = []
        row: Row = {
            "step": step,
            "train_loss": math.fsum(losses) / len(losses) if losses else None,
            "validation": self.training.evaluate("validation") if validate else None,
            "test": self.training.evaluate("test"),
        }
        self.clock.switch(None)
        self._hit = self._hit or self.training.task.spec.target.met(row[self.training.task.spec.target.split])
        self.rows.append(
            row | {f"{part}_seconds": self.clock.seconds[part] for part in ("train", "evaluation", "nowcast")}
        )

    def _nowcast(self) -> None:
        self.clock.switch("evaluation")
        self._check()
        batch = self.training.next_batch()
        before = self._loss(batch)
        optimizer: Any = self.training.optimizer  # NiNo's: no other optimizer has nowcasts
        self.losses_near_nowcasts.nowcast(self.training.steps + 1)
        hook = optimizer.register_nowcast_post_hook(self._keep_jump)
        self.clock.switch(self._jump_part)
        self.record(self.training.step())
        hook.remove()
        record = optimizer.last_nowcast
        self.clock.switch("evaluation")
        if record.loss_after is not None:
            before, after = record.loss_before, record.loss_after
        else:  # after a rejected nowcast, this would be the loss after the base optimizer's step
            after = self._loss(batch) if record.accepted else None
        row = {name: getattr(record, name) for name in ("step", "k", "seconds", "norm", "finite", "accepted")}
        self.nowcasts.append(row | {"loss_before": before, "loss_after": after})

    def _keep_jump(self, optimizer: NiNo, record: NowcastRecord) -> None:
        self.clock.switch("evaluation")
        self.jumps += jump_rows(optimizer, record)
        self.clock.switch(self._jump_part)  # if the base optimizer takes the step after all, it is charged as before

    @torch.no_grad()
    def _loss(self, batch: Batch) -> float:
        """The loss on a batch in evaluation mode, without dropout and without updating batch statistics."""
        model = self.training.model
        was_training = model.training
        model.eval()
        loss = float(self.training.task.loss(model, batch))
        model.train(was_training)
        return loss

    def tables(self) -> dict[str, list[Row]]:
        """The rows of each file of the run."""
        near = self.losses_near_nowcasts.rows()
        return {LOG: self.rows, NOWCASTS: self.nowcasts, JUMPS: self.jumps, LOSSES: near}

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to continue with the same numbers."""
        return {
            "training": self.training.state_dict(),
            "rows": self.rows,
            "nowcasts": self.nowcasts,
            "jumps": self.jumps,
            "around": self.losses_near_nowcasts.state_dict(),
            "losses": [(step, float(loss)) for step, loss in self._losses],
            "seconds": dict(self.clock.seconds),
            "elsewhere": self.clock.elsewhere,
            "hit": self._hit,
            "check": self._target.state_dict() if self._target else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.training.load_state_dict(state["training"])
        self.rows = state["rows"]
        self.nowcasts = state["nowcasts"]
        self.jumps = state.get("jumps", [])  # earlier versions recorded none
        if "around" in state:
            self.losses_near_nowcasts.load_state_dict(state["around"])
        self._losses = [(step, loss) for step, loss in state["losses"]]
        self.clock.seconds |= state["seconds"]
        self.clock.elsewhere = state.get("elsewhere", self.clock.elsewhere)  # earlier versions did not watch
        self._hit = state["hit"]
        if self._target and "check" in state:
            self._target.load_state_dict(state["check"])
