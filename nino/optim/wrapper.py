"""``NiNo``: a base optimizer that, once a period, lets a nowcaster take the step."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nino.graphs.registry import unwrap
from nino.optim.arguments import check_arguments, loaded, schedule_of
from nino.optim.base import OptimizerView
from nino.optim.history import History, Place, within
from nino.optim.jump import same_rng, world
from nino.optim.model import check_ownership, check_parameters
from nino.optim.nowcast import take_nowcast
from nino.optim.record import NowcastRecord
from nino.optim.recording import attach_graph, take_graph
from nino.optim.state import load_state, pack_state

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.base import Nowcaster

log = logging.getLogger("nino.optim")

NowcastHook = Callable[["NiNo", NowcastRecord], None]


class NiNo(OptimizerView):
    r"""Wraps an optimizer; every ``period`` steps a nowcaster predicts the parameters k states ahead instead.

    .. math:: \theta_{t+1} = \theta_t + \lambda\,\big(f(\theta_{t-(c-1)s}, \dots, \theta_t; k) - \theta_t\big)
              \quad\text{where period divides } t, \text{ else the base optimizer's step}

    Steps count from 1. States are saved ``spacing`` steps apart before their step's update, the last at the nowcast
    itself, which needs no gradients; the history then starts anew and the base optimizer keeps its state. Parameters
    keep storage, dtype and memory format; frozen ones, and those the base optimizer does not hold, are never changed.

    Under ``torch.distributed`` rank 0 alone keeps the history and computes, and all ranks end with its parameters.
    The global random number generators are never advanced.

    Args:
        base_opt: any ``torch.optim.Optimizer`` over the model's parameters.
        ckpt: a nowcaster's file, or a known name; see ``load_nowcaster``.
        model: the network; may be compiled or wrapped by DDP.
        period: steps between nowcasts.
        max_train_steps: T, steps of the whole run; needed for the decay of k.
        nowcaster: a ``Nowcaster`` in place of ``ckpt``. With neither, the base optimizer goes on alone.
        graph: the model's neural graph; None takes the declared one of known families, and records that of any other
            model in its first forward pass (see docs/graphs.md).
        topology: ``released`` (what the released weights were trained on), ``exact`` or ``naive``.
        unknown: ``error`` refuses parameters that a declaration does not place; ``carry`` leaves them to the base
            optimizer.
        context: states c that a nowcast reads; None takes the nowcaster's (5 where it reads any number).
        spacing: steps between states; None takes ``period / context``.
        horizons: k of every nowcast: one number, a list (the last serves all that follow), or None for the decay (for a
            nowcaster that knows one horizon only, for that).
        max_horizon: k of the first nowcast of the decay, in states.
        power: p of the decay ``round(linspace(K^(1/p), 1, T/period)^p)``; 0 keeps k at K.
        update_scale: :math:`\lambda`; 1 takes the prediction, 0 keeps the last state exactly.
        accept: ``finite`` (default): a prediction that is not finite is dropped. ``loss``: so is one that raises the
            loss on a given batch (see ``loss``); the base optimizer then takes the step, which always needs gradients.
        loss: returns the loss on a batch (no ``backward``), measured before and after each nowcast; may be set at any
            time (``opt.loss = ...``). With ``accept="loss"`` and none here, the closure given to ``step`` serves.
        history: where the states are kept: ``auto``, ``cpu``, ``pinned``, ``device`` or ``disk``; c * P numbers.
        history_dtype: ``torch.float32``, ``float16`` or ``bfloat16``.
        history_dir: folder for ``disk``.
        device: where nowcasts are computed; None takes the device of the model's first parameter.
        memory_budget: bytes that a nowcast's temporaries may take; None leaves it to the nowcaster.
        process_group: the ranks that train together; None takes all of them.

    Raises:
        TypeError: for a ``base_opt`` that is no optimizer or a ``model`` that is no module.
        ValueError: for arguments out of range or that contradict each other; names them.

    Source: Knyazev et al., ICLR 2025, section 4 and its review thread.
    """

    def __init__(
        self,
        base_opt: torch.optim.Optimizer,
        ckpt: str | Path | None = None,
        model: nn.Module | None = None,
        period: int = 1000,
        max_train_steps: int | None = None,
        *,
        nowcaster: Nowcaster | None = None,
        graph: NeuralGraph | None = None,
        topology: str = "released",
        unknown: str = "error",
        context: int | None = None,
        spacing: int | None = None,
        horizons: int | Sequence[int] | None = None,
        max_horizon: int = 40,
        power: float = 2.0,
        update_scale: float = 1.0,
        accept: Literal["finite", "loss"] = "finite",
        loss: Callable[[], Any] | None = None,
        history: Place = "auto",
        history_dtype: torch.dtype = torch.float32,
        history_dir: str | Path | None = None,
        device: torch.device | str | None = None,
        memory_budget: int | None = None,
        process_group: Any = None,
    ) -> None:
        """See the class."""
        super().__init__(base_opt)
        self.model = unwrap(check_arguments(model, ckpt, nowcaster, accept, update_scale))
        self.named: dict[str, Tensor] = dict(self.model.named_parameters())
        check_ownership(base_opt, self.named)
        with same_rng():  # loading may initialise before it fills in
            self.nowcaster = nowcaster if ckpt is None else loaded(ckpt)
            self.graph = graph
            if self.nowcaster is not None:
                check_parameters(self.named)
                if graph is None and model is not None:
                    attach_graph(self, model, topology, unknown)
                elif graph is not None:
                    take_graph(self, graph)
        self.schedule = schedule_of(
            self.nowcaster, period, context, spacing, horizons, max_train_steps, max_horizon, power
        )
        self.update_scale, self.accept, self.loss = update_scale, accept, loss
        self.device = None if device is None else torch.device(device)
        self.memory_budget, self.process_group = memory_budget, process_group
        computes = self.nowcaster is not None and world(process_group)[0] == 0
        self.history = History(
            list(self.named.values()), self.schedule.context, history, history_dtype, history_dir, hold=computes
        )
        self.steps = 0
        self.last_nowcast: NowcastRecord | None = None
        self.counts = {"kept": 0, "put back": 0, "left out": 0}
        self.nowcast_pre_hooks: OrderedDict[int, NowcastHook] = OrderedDict()
        self.nowcast_post_hooks: OrderedDict[int, NowcastHook] = OrderedDict()
        self._enabled = self.nowcaster is not None
        self._plan()

    # -- what the training loop asks -------------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether nowcasts take place; set it to False to go on with the base optimizer alone."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        if value and self.nowcaster is None:
            raise ValueError("there is no nowcaster to enable: pass `ckpt` or `nowcaster`")
        self._enabled = value
        self.history.clear()
        self._plan()

    @property
    def need_grads(self) -> bool:
        """Whether the next step needs gradients: False where a nowcast takes its place."""
        return self.steps + 1 != self._next_nowcast or self.accept == "loss" or not self._ready()

    @property
    def nowcast_next(self) -> bool:
        """Whether the next step is a nowcast."""
        return self.steps + 1 == self._next_nowcast and self._ready()

    @property
    def next_horizon(self) -> int:
        """K of the next nowcast, in states."""
        return self.schedule.horizon(self.schedule.next_nowcast(self.steps))

    def register_nowcast_pre_hook(self, hook: NowcastHook) -> RemovableHandle:
        """Call ``hook(opt, record)`` before each nowcast; the record holds step, k and any loss measured before it."""
        handle = RemovableHandle(self.nowcast_pre_hooks)
        self.nowcast_pre_hooks[handle.id] = hook
        return handle

    def register_nowcast_post_hook(self, hook: NowcastHook) -> RemovableHandle:
        """Call ``hook(opt, record)`` after each nowcast, also one that was put back."""
        handle = RemovableHandle(self.nowcast_post_hooks)
        self.nowcast_post_hooks[handle.id] = hook
        return handle

    # -- steps -----------------------------------------------------------------------------------------------------

    def _take_step(self, closure: Callable[[], Any] | None) -> Any:
        step = self.steps + 1
        if step < self._next_save:  # the common case: nothing but the base optimizer
            result = self.base.step() if closure is None else self.base.step(closure)
            self.steps = step
            return result
        due = step == self._next_nowcast
        if due and self._ready():
            result = take_nowcast(self, step, closure)
        else:
            slot = self.schedule.slot(step)
            if due:
                self._leave_out(step)
            elif slot is not None and slot <= len(self.history):
                self.history.save(slot)
            result = self.base.step() if closure is None else self.base.step(closure)
        if due:
            self.history.clear()
        self.steps = step
        self._plan()
        return result

    def _plan(self) -> None:
        self._next_save = self.schedule.next_save(self.steps) if self._enabled else math.inf
        self._next_nowcast = self.schedule.next_nowcast(self.steps) if self._enabled else math.inf

    def _ready(self) -> bool:
        """Whether all earlier states are there, and they and the present parameters are finite."""
        whole = len(self.history) >= self.schedule.context - 1
        whole = whole and self.graph is not None
        return whole and self.history.finite and bool(within(list(self.named.values()), self.history.dtype))

    def _leave_out(self, step: int) -> None:
        self.counts["left out"] += 1
        limit = torch.finfo(self.history.dtype).max
        bad = [n for n, p in self.named.items() if not bool((p.detach().abs() <= limit).all())]
        if bad:
            reason = f"parameter {bad[0]!r} holds NaN, infinity or more than {limit:.3g}; has the training diverged?"
        elif self.graph is None:
            reason = "the model has had no forward pass to record its neural graph from: call it, or pass `graph`"
        elif self.history.finite:
            reason = f"only {len(self.history)} of {self.schedule.context - 1} earlier states were saved in this period"
        else:
            reason = "an earlier state of this period held NaN or infinity"
        log.warning("step %d: nowcast left out, the base optimizer takes the step: %s", step, reason)

    # -- state -----------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of the model's parameters to the base optimizer."""
        self.base.add_param_group(param_group)
        try:
            check_ownership(self.base, self.named)
        except ValueError:
            self.base.param_groups.pop()
            raise

    def state_dict(self) -> dict[str, Any]:
        """The base optimizer's state dict and, under ``nino``, the step, saved states, schedule and signatures.

        Plain values and tensors only: ``torch.load(..., weights_only=True)`` reads it, and the base optimizer alone can
        load it too. See ``nino.optim.to_tensors`` for safetensors and DCP.
        """
        return pack_state(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken, bit for bit.

        Like learning rates, the schedule in it takes the place of the constructor's. Nothing is changed where it is
        refused.

        Raises:
            ValueError: for a state of another model or nowcaster, or of the base optimizer alone; says what differs.
        """
        load_state(self, state_dict)

    def __repr__(self) -> str:
        """Base optimizer, nowcaster and schedule."""
        name = type(self.nowcaster).__name__ if self._enabled else "no nowcasts"
        s = self.schedule
        return f"NiNo({name}, period={s.period}, context={s.context}, spacing={s.spacing}, base={self.base!r})"
