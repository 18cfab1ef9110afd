"""``NiNo``: a base optimizer that, once a period, lets a nowcaster take the step."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nino.graphs.registry import unwrap
from nino.optim.checks import check_arguments, check_graph, check_ownership, check_parameters, schedule_of
from nino.optim.history import History, Place
from nino.optim.loss import loss_of, same_rng
from nino.optim.nowcast_record import NowcastRecord
from nino.optim.nowcasting import Nowcasting
from nino.optim.nowcasts_state import NowcastsState
from nino.optim.optimizer_view import OptimizerView
from nino.optim.recording import settle_graph
from nino.optim.shards import reshard

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.base import Nowcaster

NowcastHook = Callable[["NiNo", NowcastRecord], None]


def _of_nowcasting(name: str) -> Any:
    """An attribute of the optimizer that lies in its ``nowcasting``."""
    return property(lambda opt: getattr(opt.nowcasting, name), lambda opt, value: setattr(opt.nowcasting, name, value))


class NiNo(OptimizerView):
    r"""Wraps an optimizer; every ``period`` steps a nowcaster predicts the parameters k states ahead instead.

    .. math:: \theta_{t+1} = \theta_t + \lambda\,\big(f(\theta_{t-(c-1)s}, \dots, \theta_t; k) - \theta_t\big)
              \quad\text{where period divides } t, \text{ else the base optimizer's step}

    Steps count from 1. States are saved ``spacing`` steps apart before their step's update, the last at the nowcast
    itself, which needs no gradients; the history then starts anew and the base optimizer keeps its state. Parameters
    keep storage, dtype and memory format; frozen ones, and those the base optimizer does not hold, are never changed.

    Under ``torch.distributed`` (DDP, FSDP2, tensor parallel) all ranks share the history and the nowcast, where the
    nowcaster ``shares``, and all end with the same parameters. The global random number generators are never advanced.

    Args:
        base_opt: any ``torch.optim.Optimizer`` over the model's parameters.
        ckpt: a nowcaster's file, or a known name; see ``load_nowcaster``.
        model: the network; may be compiled, wrapped by DDP or sharded (``DTensor`` parameters).
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
        named: dict[str, Tensor] = dict(self.model.named_parameters())
        check_ownership(base_opt, named)
        with same_rng():  # loading may initialise before it fills in
            if ckpt is not None:
                from nino.nowcasters import load_nowcaster

                nowcaster = load_nowcaster(ckpt)
            if nowcaster is not None:
                check_parameters(named)
                if graph is not None:
                    check_graph(graph, named)
        asked = {"period": period, "spacing": spacing, "max_horizon": max_horizon, "power": power}
        schedule = schedule_of(nowcaster, context, horizons, max_train_steps=max_train_steps, **asked)
        states = History(list(named.values()), schedule.context, history, history_dtype, history_dir)
        place = None if device is None else torch.device(device)
        self.nowcasting = Nowcasting(
            base_opt, named, nowcaster, graph, schedule, states, update_scale, place, memory_budget, process_group
        )
        self.accept, self.loss = accept, loss
        self.steps = 0
        self.last_nowcast: NowcastRecord | None = None
        self.nowcast_pre_hooks: OrderedDict[int, NowcastHook] = OrderedDict()
        self.nowcast_post_hooks: OrderedDict[int, NowcastHook] = OrderedDict()
        self._enabled = nowcaster is not None
        self._plan()
        if nowcaster is not None:
            with same_rng():
                settle_graph(self.nowcasting, self.model, model or self.model, topology, unknown)

    nowcaster, graph, named = _of_nowcasting("nowcaster"), _of_nowcasting("graph"), _of_nowcasting("named")
    schedule, history, counts = _of_nowcasting("schedule"), _of_nowcasting("history"), _of_nowcasting("counts")
    update_scale, device = _of_nowcasting("update_scale"), _of_nowcasting("device")
    memory_budget, process_group = _of_nowcasting("memory_budget"), _of_nowcasting("process_group")

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
        return self.steps + 1 != self._next_nowcast or self.accept == "loss" or not self.nowcasting.ready()

    @property
    def nowcast_next(self) -> bool:
        """Whether the next step is a nowcast."""
        return self.steps + 1 == self._next_nowcast and self.nowcasting.ready()

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
        if due and self.nowcasting.ready():
            result = self._take_nowcast(step, closure)
        else:
            if due:
                self.nowcasting.leave_out(step)
            else:
                self.nowcasting.save(step)
            result = self.base.step() if closure is None else self.base.step(closure)
        if due:
            self.history.clear()
        self.steps = step
        self._plan()
        return result

    def _take_nowcast(self, step: int, closure: Callable[[], Any] | None) -> Any:
        """Let the nowcaster take step ``step`` or, where its jump is not kept, the base optimizer.

        Returns:
            The closure's loss before the nowcast; None without a closure.

        Raises:
            ValueError: if ``accept="loss"`` has no loss to go by. Like every error of the nowcaster, it leaves the
                parameters as they were, and the step may be taken again.
        """
        self.nowcasting.save(step)
        decides = self.accept == "loss"
        source = self.loss or (closure if decides else None)
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
        record = NowcastRecord(step, self.schedule.horizon(step), loss_before=before)
        for hook in list(self.nowcast_pre_hooks.values()):
            hook(self, record)
        reshard(self.model)
        record = self.nowcasting.take(record, measure, decides=decides, seconds=seconds)
        self.last_nowcast = record
        for hook in list(self.nowcast_post_hooks.values()):
            hook(self, record)
        if record.accepted:
            return result
        if closure is not None:
            return self.base.step(closure)
        # Without accept="loss" nobody computed gradients for this step: the old ones must not serve twice.
        return self.base.step() if decides else None

    def _plan(self) -> None:
        self._next_save = self.schedule.next_save(self.steps) if self._enabled else math.inf
        self._next_nowcast = self.schedule.next_nowcast(self.steps) if self._enabled else math.inf
        if self._enabled and self.nowcasting.ranks.world > 1:  # ranks agree at the end of the step before a nowcast
            if self.steps + 1 == self._next_nowcast:
                self.nowcasting.agree()
            else:
                self._next_save = min(self._next_save, self._next_nowcast - 1)

    # -- state -----------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of the model's parameters to the base optimizer."""
        self.base.add_param_group(param_group)
        try:
            check_ownership(self.base, self.named)
        except ValueError:
            self.base.param_groups.pop()
            raise

    @property
    def nowcasts(self) -> NowcastsState:
        """Step, schedule and saved states for ``torch.distributed.checkpoint``, with any number of processes."""
        return NowcastsState(self)

    def gather_states(self) -> None:
        """Join the saved states of all ranks at rank 0, whose next ``state_dict()`` holds them all; called by all.

        Otherwise each rank's ``state_dict()`` holds its own part, which that rank alone can load.
        """
        self.history.gather(self.nowcasting.ranks)

    def state_dict(self) -> dict[str, Any]:
        """The base optimizer's state dict and, under ``nino``, the step, saved states, schedule and signatures.

        Plain values and tensors only: ``torch.load(..., weights_only=True)`` reads it, and the base optimizer alone can
        load it too. See ``nino.optim.to_tensors`` for safetensors and DCP.
        """
        for before in self._optimizer_state_dict_pre_hooks.values():
            before(self)
        nowcasts = {"step": self.steps, "enabled": self._enabled, **self.nowcasting.state_dict()}
        state = {**self.base.state_dict(), "nino": nowcasts}
        for after in self._optimizer_state_dict_post_hooks.values():
            if (changed := after(self, state)) is not None:
                state = changed
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken, bit for bit.

        Like learning rates, the schedule in it takes the place of the constructor's. Nothing is changed where it is
        refused.

        Raises:
            ValueError: for a state of another model or nowcaster, or of the base optimizer alone; says what differs.
        """
        state = dict(state_dict)
        for before in self._optimizer_load_state_dict_pre_hooks.values():
            if (changed := before(self, state)) is not None:
                state = changed
        if "nino" not in state:
            raise ValueError(
                "`state_dict` has no entry 'nino': it is the state of another optimizer; to start nowcasting from a "
                "base optimizer's state, load it there: `opt.base.load_state_dict(state_dict)`"
            )
        self.resume(state.pop("nino"), state)
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)

    def resume(self, nowcasts: dict[str, Any], of_base: dict[str, Any] | None = None) -> None:
        """Go on with the nowcasts of a state and, where it is given, the base optimizer's part of it."""
        enabled = bool(nowcasts["enabled"]) and self.nowcaster is not None
        self.nowcasting.require_own(nowcasts, enabled)
        if of_base is not None:
            self.base.load_state_dict(of_base)
        self.nowcasting.load_state_dict(nowcasts, enabled)
        self.steps, self.last_nowcast, self._enabled = int(nowcasts["step"]), None, enabled
        self._plan()

    def __repr__(self) -> str:
        """Base optimizer, nowcaster and schedule."""
        name = type(self.nowcaster).__name__ if self._enabled else "no nowcasts"
        s = self.schedule
        return f"NiNo({name}, period={s.period}, context={s.context}, spacing={s.spacing}, base={self.base!r})"
