"""``NiNo``: a base optimizer that, once a period, lets a nowcaster take the step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nino.device import same_rng
from nino.graphs.registry import unwrap
from nino.optim.checks import check_arguments, check_graph, check_ownership, check_parameters, schedule_of
from nino.optim.dcp import StateNames, asked_by_dcp, gather, spread
from nino.optim.history import History, Place
from nino.optim.nowcast_record import NowcastRecord
from nino.optim.nowcasting import Nowcasting
from nino.optim.nowcasts_state import NowcastsState
from nino.optim.optimizer_view import OptimizerLike, check_optimizer
from nino.optim.progress import Progress
from nino.optim.recording import settle_graph
from nino.optim.steps import NowcastSteps, forwarded
from nino.optim.still import check_still, frozen_masks
from nino.optim.surroundings import reach_the_user
from nino.threads import thread_count

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.base import Nowcaster

log = logging.getLogger("nino.optim")
NowcastHook = Callable[["NiNo", NowcastRecord], None]


class NiNo(NowcastSteps):
    r"""Wraps an optimizer; every ``period`` steps a nowcaster predicts the parameters k states ahead instead.

    .. math:: \theta_{t+1} = \theta_t + \lambda\,\big(f(\theta_{t-(c-1)s}, \dots, \theta_t; k) - \theta_t\big)
              \quad\text{where period divides } t, \text{ else the base optimizer's step}

    Steps count from 1. States are saved ``spacing`` steps apart before their step's update, the last at the nowcast
    itself, which needs no gradients; the history then starts anew and the base optimizer keeps its state. Parameters
    keep storage, dtype and memory format; frozen ones, and those the base optimizer does not hold, are never changed.

    Under ``torch.distributed`` (DDP, FSDP2, tensor parallel) the ranks share the history and the work of a nowcast, if
    the nowcaster allows it (``Nowcaster.shares``), else rank 0 does both; all end with the same parameters. The global
    random number generators are never advanced.

    Args:
        base_opt: any ``torch.optim.Optimizer`` over the model's parameters, or what has the methods of one. Copies of
            the weights that it keeps (masters, schedule-free's z, slow weights, averages) are moved by the same change.
        ckpt: a nowcaster's file, or a known name; see ``load_nowcaster``.
        model: the network; may be compiled, wrapped by DDP or sharded (``DTensor`` parameters).
        period: steps between nowcasts.
        max_train_steps: T, steps of the whole run; needed for the decay of k.
        nowcaster: a ``Nowcaster`` in place of ``ckpt``. With neither, the base optimizer goes on alone, and a warning
            says so.
        graph: the model's neural graph; None takes the declared one of known families, and records that of any other
            model in its first forward pass (see docs/graphs.md).
        topology: ``released`` (what the released weights were trained on), ``exact`` or ``naive``.
        unknown: ``error`` refuses parameters that a declaration does not place; ``carry`` leaves them to the base
            optimizer.
        context: states c that a nowcast reads; None takes the nowcaster's (5 where it reads any number).
        spacing: steps between states; None takes ``period / context``.
        horizons: k of every nowcast: one number, a list (the last serves all that follow), or None for the decay (for a
            nowcaster that knows one horizon only, for that). Under a decaying learning rate see ``horizons_under``.
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
        threads: CPU threads that compute a nowcast; None takes the environment variable ``NINO_THREADS``, else torch's
            own number. The prediction is the same to the bit with any number.
        process_group: the ranks that train together; None takes all of them.
        still: ``keep``: elements that are equal in all saved states (padding rows, pruned weights, a head without
            gradients) stay as they are. ``predict``: they are nowcast, too, as in the paper.
        frozen: bool tensors by parameter name, True for elements that no nowcast moves; of the parameter's shape, or of
            one that broadcasts to it.
        resume_schedule: which schedule rules after ``load_state_dict``: the ``saved`` one, or the one ``given`` here,
            such as that of a longer ``max_train_steps``; states saved at other steps than the given one's are dropped.
        verbose: logs one line per nowcast at level INFO (logger ``nino.optim``), which reaches stderr where the program
            has set up no logging; False logs it at level DEBUG. Warnings are not affected.

    Raises:
        TypeError: for a ``base_opt`` that is no optimizer or a ``model`` that is no module.
        ValueError: for arguments out of range or that contradict each other; names them.

    Source: Knyazev et al., ICLR 2025, section 4 and its review thread.
    """

    def __init__(
        self,
        base_opt: OptimizerLike,
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
        threads: int | None = None,
        process_group: Any = None,
        still: Literal["keep", "predict"] = "keep",
        frozen: Mapping[str, Tensor] | None = None,
        resume_schedule: Literal["saved", "given"] = "saved",
        verbose: bool = True,
    ) -> None:
        """See the class."""
        check_optimizer(base_opt)
        inner = unwrap(check_arguments(model, ckpt, nowcaster, accept, update_scale, resume_schedule))
        named: dict[str, Tensor] = dict(inner.named_parameters())
        check_ownership(base_opt, named)
        masks = frozen_masks(frozen, inner)
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
        nowcasting = Nowcasting(
            base_opt, named, nowcaster, graph, schedule, states, update_scale, place, memory_budget, process_group,
            threads if threads is None else thread_count(threads), check_still(still), masks, resume_schedule, verbose,
        )  # fmt: skip
        super().__init__(base_opt, inner, nowcasting, Progress(nowcaster is not None, accept, loss))
        if nowcaster is not None:
            reach_the_user(log)
            with same_rng():
                settle_graph(nowcasting, inner, model or inner, topology, unknown)
        else:
            log.warning("no nowcaster: the base optimizer takes every step; pass `ckpt`, such as 'nino_no_posw'")

    nowcaster, graph, named = (forwarded("nowcasting", name) for name in ("nowcaster", "graph", "named"))
    history, counts = forwarded("nowcasting", "history"), forwarded("nowcasting", "counts")
    update_scale, device = forwarded("nowcasting", "update_scale"), forwarded("nowcasting", "device")
    memory_budget, process_group = forwarded("nowcasting", "memory_budget"), forwarded("nowcasting", "process_group")
    schedule, verbose = forwarded("nowcasting", "schedule"), forwarded("nowcasting", "verbose")

    @property
    def state(self) -> Any:
        """The base optimizer's state itself; to ``torch.distributed.checkpoint``, the names of what it stores."""
        return StateNames(self.nowcasting) if asked_by_dcp() else self.base.state

    @state.setter
    def state(self, state: Any) -> None:
        self.base.state = state

    def register_nowcast_pre_hook(self, hook: NowcastHook) -> RemovableHandle:
        """Call ``hook(opt, record)`` before each nowcast; the record holds step, k and any loss measured before it."""
        handle = RemovableHandle(self.progress.pre_hooks)
        self.progress.pre_hooks[handle.id] = hook
        return handle

    def register_nowcast_post_hook(self, hook: NowcastHook) -> RemovableHandle:
        """Call ``hook(opt, record)`` after each nowcast, also one that was put back."""
        handle = RemovableHandle(self.progress.post_hooks)
        self.progress.post_hooks[handle.id] = hook
        return handle

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
        nowcasts = {"step": self.steps, "enabled": self.enabled, **self.nowcasting.state_dict()}
        state = {**self.base.state_dict(), "nino": nowcasts}
        if asked_by_dcp():
            state = spread(self.nowcasting, state)
        for after in self._optimizer_state_dict_post_hooks.values():
            if (changed := after(self, state)) is not None:
                state = changed
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken, bit for bit.

        Like learning rates, the saved schedule takes the place of the constructor's, unless ``resume_schedule`` is
        ``given``. A state that is refused changes nothing.

        Raises:
            ValueError: for a state of another model or nowcaster, or of the base optimizer alone; says what differs.
        """
        state = dict(state_dict)
        for before in self._optimizer_load_state_dict_pre_hooks.values():
            if (changed := before(self, state)) is not None:
                state = changed
        state = gather(self.nowcasting, state)
        if "nino" not in state:
            raise ValueError(
                "`state_dict` has no entry 'nino': it is the state of another optimizer; to start nowcasting from a "
                "base optimizer's state, load it there: `opt.base.load_state_dict(state_dict)`, or "
                "`set_optimizer_state_dict(model, opt.base, state_dict)`"
            )
        self.resume(state.pop("nino"), state)
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)

    def __repr__(self) -> str:
        """Base optimizer, nowcaster and schedule."""
        name = type(self.nowcaster).__name__ if self.enabled else "no nowcasts"
        s = self.schedule
        return f"NiNo({name}, period={s.period}, context={s.context}, spacing={s.spacing}, base={self.base!r})"
