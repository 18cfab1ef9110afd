"""What nowcasts inside the optimizer: a nowcaster, the model's graph, a schedule, the saved states and the counts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nino.optim.checks import compare_parameters
from nino.optim.copies import Carried
from nino.optim.history import History, within
from nino.optim.jump import Jump, Target, snapshot, write
from nino.optim.loss import same_rng
from nino.optim.nowcast_record import NowcastRecord
from nino.optim.optimizer_view import OptimizerLike
from nino.optim.shards import Shards, is_sharded, local
from nino.optim.signature import nowcaster_signature
from nino.optim.still import HeldJump
from nino.optim.watch import JumpWatch
from nino.ranks import Ranks
from nino.schedule import Schedule

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.base import Nowcaster

log = logging.getLogger("nino.optim")

FORMAT = 1  # of the state dict


@dataclass(eq=False)
class Nowcasting:
    r"""Saves a model's states as its schedule says, and moves its parameters by what a nowcaster makes of them.

    .. math:: \theta_{t+1} = \theta_t + \lambda\,\big(f(\theta_{t-(c-1)s}, \dots, \theta_t; k) - \theta_t\big)

    Args:
        base: the optimizer that trains the model; what it does not hold is never written.
        named: the model's parameters by name, in the order of the graph.
        nowcaster: f; None for a training without nowcasts.
        graph: of the model; None without a nowcaster, or until the first forward pass.
        schedule: period, c, s and k.
        history: where the states go.
        update_scale: :math:`\lambda`.
        device: where a network nowcaster computes; None takes the device of the model's first parameter.
        memory_budget: bytes that a nowcast's temporaries may take; None leaves it to the nowcaster.
        process_group: the ranks that train together; None takes all of them.
        still: ``keep`` leaves elements where they are that are equal in all states; ``predict`` moves them.
        frozen: elements that stay in any case: masks by the ``id`` of the parameter.
        resume_schedule: which schedule rules after loading a state: the ``saved`` one or the ``given`` one.
        verbose: whether a kept nowcast is reported at level INFO; else at DEBUG.
        watch: the last nowcast, until the base optimizer's next step has been compared with it.
        counts: nowcasts that were kept, put back, and left out because states were missing or not finite.
    """

    base: OptimizerLike
    named: dict[str, Tensor]
    nowcaster: Nowcaster | None
    graph: NeuralGraph | None
    schedule: Schedule
    history: History
    update_scale: float = 1.0
    device: torch.device | None = None
    memory_budget: int | None = None
    process_group: Any = None
    still: str = "keep"
    frozen: dict[int, Tensor] = field(default_factory=dict)
    resume_schedule: str = "saved"
    verbose: bool = True
    watch: JumpWatch | None = None
    counts: dict[str, int] = field(default_factory=lambda: {"kept": 0, "put back": 0, "left out": 0})
    _agreed: bool = field(default=False, init=False)
    _waiting: dict[str, Any] | None = field(default=None, init=False)

    @property
    def ranks(self) -> Ranks:
        """This process among those that train together."""
        return Ranks.of(self.process_group)

    @property
    def apart(self) -> bool:
        """Whether several processes train together, or parameters are ``DTensor``."""
        return self.ranks.world > 1 or any(map(is_sharded, self.named.values()))

    # -- before a nowcast ------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether there is a graph, all earlier states are there, and they and the present parameters are finite.

        Among several processes, what ``agree`` found: they go on together.
        """
        return self._ready_here() if self.ranks.world == 1 else self._agreed

    def agree(self) -> None:
        """Let all processes know, before a nowcast, whether all of them are ready."""
        self._agreed = all(self.ranks.gather(self._ready_here()))

    def _ready_here(self) -> bool:
        whole = self.graph is not None and len(self.history) >= self.schedule.context - 1
        return whole and self.history.finite and bool(within(self._held(), self.history.dtype))

    def _held(self) -> list[Tensor]:
        """What lies in this process of each parameter."""
        return [local(p) for p in self.named.values()]

    def save(self, step: int) -> None:
        """Save the state that step ``step`` starts from, if the schedule asks for it and no earlier one is missing."""
        slot = self.schedule.slot(step)
        if slot is not None and slot <= len(self.history) and self.settle():
            self.history.save(slot)

    def settle(self) -> bool:
        """Share the model out among processes, once its graph is known; whether states can be saved."""
        ranks = self.ranks
        if self.history.shards is not None or not self.apart:
            return True
        if self.graph is None:
            return False
        even = getattr(self.nowcaster, "shares", False)  # what is derived from no class of ours may lack it
        self.history.shards = Shards(self.named, self.graph, ranks, even=even)
        if self._waiting is not None:
            self._load_states(self._waiting)
        return True

    def leave_out(self, step: int) -> None:
        """Count a nowcast that is due but not ready, and say why."""
        self.counts["left out"] += 1
        limit = torch.finfo(self.history.dtype).max
        held = zip(self.named, self._held(), strict=True)
        bad = [n for n, p in held if not bool((p.abs() <= limit).all())]
        reason = None
        if bad:
            reason = f"parameter {bad[0]!r} holds NaN, infinity or more than {limit:.3g}; has the training diverged?"
        elif self.graph is None:
            reason = "the model has had no forward pass to record its neural graph from: call it, or pass `graph`"
        elif not self.history.finite:
            reason = "an earlier state of this period held NaN or infinity"
        elif len(self.history) < self.schedule.context - 1:
            reason = f"only {len(self.history)} of {self.schedule.context - 1} earlier states were saved in this period"
        reasons = self.ranks.gather(reason)
        rank, reason = next(((rank, text) for rank, text in enumerate(reasons) if text), (0, "they are finite again"))
        where = f"rank {rank}: " if self.ranks.world > 1 else ""
        log.warning("step %d: nowcast left out, the base optimizer takes the step: %s%s", step, where, reason)

    # -- the nowcast -----------------------------------------------------------------------------------------------

    def take(
        self, record: NowcastRecord, measure: Callable[[], float] | None, *, decides: bool, seconds: float = 0.0
    ) -> NowcastRecord:
        """Predict, check, write and, where the loss says so, put back.

        Args:
            record: step, horizon and the loss before, if that was measured.
            measure: returns the loss; None measures nothing.
            decides: whether a loss that rises puts the parameters back.
            seconds: already spent on this nowcast.

        Returns:
            The whole record.
        """
        clock = perf_counter()
        targets = self.targets()
        proposal = self._proposal(record, targets)
        if proposal is None:
            self.counts["left out"] += 1
            return replace(record, seconds=seconds + perf_counter() - clock, accepted=False)
        jump, finite, norm = proposal
        accepted, after = finite, None
        if finite:
            restore = snapshot(targets) if decides else None
            carried, self.watch = self._notes(targets)
            write(jump, targets)
            _synchronize(targets)
            written = perf_counter()
            if measure is not None:
                after = measure()
            if restore is not None and not _not_above(after, record.loss_before):
                accepted, self.watch = False, None
                restore()
            else:
                carried.shift()
                self.watch.jumped(carried.copies)
            # A loss that is only reported is no part of the nowcast's cost.
            seconds += (perf_counter() if decides else written) - clock
        else:
            seconds += perf_counter() - clock
        self.counts["kept" if accepted else "put back"] += 1
        record = replace(record, seconds=seconds, norm=norm, finite=finite, accepted=accepted, loss_after=after)
        shown = logging.INFO if self.verbose and self.ranks.leads else logging.DEBUG
        log.log(shown if accepted else logging.WARNING, "%s", record)
        return record

    def _notes(self, targets: list[Target]) -> tuple[Carried, JumpWatch]:
        """What must be known before the jump: the optimizer's copies of the weights, and a sample of these."""
        written = {id(t.parameter) for t in targets}
        named = {name: p for name, p in self.named.items() if id(p) in written}
        return Carried(self.base, list(named.values())), JumpWatch(self.base, named)

    def targets(self) -> list[Target]:
        """The parameters that nowcasts write: trained by the base optimizer, not frozen, on an edge of the graph."""
        assert self.graph is not None  # no nowcast is due without
        held = {id(p) for group in self.base.param_groups for p in group["params"]}
        carried = set(self.graph.carried)
        shards = self.history.shards
        targets = []
        for i, (name, parameter) in enumerate(self.named.items()):
            if parameter.requires_grad and id(parameter) in held and name not in carried:
                places = (self.graph if shards is None else shards.graph).parameters
                present = parameter.detach() if shards is None else shards[i]
                shard = None if shards is None else shards.shards[i]
                targets.append(Target(parameter, places[i].offset, present, shard))
        return targets

    def _proposal(self, record: NowcastRecord, targets: list[Target]) -> tuple[Jump, bool, float] | None:
        """The jump, or this process's part of it, whether all of it is finite, and its norm.

        Returns:
            None where some processes could not do their part, and so all leave the nowcast out.

        Raises:
            Exception: what the nowcaster raised, where no process could do its part.
        """
        ranks, shards = self.ranks, self.history.shards
        try:
            with torch.no_grad(), same_rng(), _full_precision(self.named.values()):
                jump = self._predict(record)
                mine = jump.measure(targets)
            everywhere = ranks.agree(mine)
        except Exception as error:
            others = ranks.fail(error)
            alone = shards is not None and not shards.even  # rank 0, for all
            if not others or (alone and ranks.leads):
                raise
            if alone:
                raise RuntimeError(f"step {record.step}: the nowcast failed on {error}") from error
            log.warning("step %d: nowcast left out on all ranks: %s: %s", record.step, type(error).__name__, error)
            return None
        norm = sum(square for _, square in everywhere) ** 0.5
        return jump, all(finite for finite, _ in everywhere), norm

    def _predict(self, record: NowcastRecord) -> Jump:
        assert self.nowcaster is not None and self.graph is not None
        parameters = list(self.named.values())
        if isinstance(self.nowcaster, nn.Module):
            # The network computes where its weights are, and fetches the states from where they are a chunk at a time.
            self.nowcaster.to(self.device or parameters[0].device)
        states, shards = self.history.states(), self.history.shards
        graph = self.graph if shards is None else shards.graph
        if hasattr(self.nowcaster, "at_step"):  # what is derived from no class of ours may lack it
            self.nowcaster.at_step(record.step)
        if shards is None or shards.computes:
            prediction = self.nowcaster.predict(graph, states, record.k, memory_budget=self.memory_budget)
        else:
            prediction = torch.empty(0)
        exact = states.dtype == torch.float32 and all(p.dtype.itemsize <= 4 for p in parameters)
        seen = states if self.still == "keep" else None
        return HeldJump(prediction, None if exact else states[:, -1], self.update_scale, seen, self.frozen)

    # -- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Schedule, counts and saved states, and what they belong to, as plain values and tensors.

        Where processes share the model, each one's states are its own, and `share` says whose, unless
        ``history.gather`` has joined them.
        """
        ranks, whole, shards = self.ranks, self.history.whole, self.history.shards
        own = shards is not None and whole is None and (shards.even or not ranks.leads)
        states = self.history.rows() if whole is None else whole
        return {**self.about(), "states": states, **({"share": [ranks.rank, ranks.world]} if own else {})}

    def about(self) -> dict[str, Any]:
        """The state dict without the states, the same in all processes."""
        return {
            "format": FORMAT,
            "parameters": {name: list(p.shape) for name, p in self.named.items()},
            "nowcaster": nowcaster_signature(self.nowcaster),
            "graph": None if self.graph is None else self.graph.signature(),
            "schedule": {**vars(self.schedule), "horizons": list(self.schedule.horizons)},
            "counts": dict(self.counts),
            "saved": len(self.history),
            "finite": self.history.finite,
        }

    def require_own(self, state: dict[str, Any], enabled: bool) -> None:
        """Refuse the state of another model, nowcaster or graph, and one that is damaged.

        Args:
            state: of `state_dict`, perhaps of an earlier version.
            enabled: whether nowcasts will go on from its saved states.

        Raises:
            ValueError: says what differs.
        """
        if state["format"] != FORMAT:
            raise ValueError(
                f"`state_dict` has format {state['format']!r}, but this version of nino reads format {FORMAT}"
            )
        compare_parameters({n: tuple(s) for n, s in state["parameters"].items()}, self.named, "`state_dict`")
        signature = nowcaster_signature(self.nowcaster)
        if signature is not None and state["nowcaster"] != signature:
            raise ValueError(
                f"`state_dict` was saved with the nowcaster {state['nowcaster']}, but this optimizer has {signature}: "
                f"pass the same one, or go on with the base optimizer alone (nowcaster=None)"
            )
        if self.graph is not None and state["graph"] not in (None, self.graph.signature()):
            raise ValueError(
                f"`state_dict` was saved with a graph of signature {state['graph']}, but this optimizer's has "
                f"{self.graph.signature()} (topology {self.graph.topology!r}): pass the same `graph` or `topology`"
            )
        self.settle()
        if "states" not in state or self._of_others(state) or ("share" in state and self.history.shards is None):
            return
        states: Tensor = state["states"]
        numbers = self.history.size if "share" in state else sum(p.numel() for p in self.named.values())
        if states.shape[0] not in (0, state["saved"]) or states.shape[1] != numbers:
            raise ValueError(
                f"`state_dict` holds states of shape {tuple(states.shape)}, but {state['saved']} of "
                f"{numbers} numbers each were saved: it is damaged"
            )
        if enabled and not states.shape[0] and state["saved"]:  # earlier versions kept them in rank 0 alone
            raise ValueError("`state_dict` comes from a rank that keeps no states: load rank 0's")

    def _of_others(self, state: dict[str, Any]) -> bool:
        """Whether a state dict holds the states of another process than this one."""
        return "share" in state and state["share"] != [self.ranks.rank, self.ranks.world]

    def load_state_dict(self, state: dict[str, Any], enabled: bool) -> None:
        """Take over schedule and counts and, where nowcasts go on, the saved states, once `require_own` has passed."""
        schedule = Schedule(**{**state["schedule"], "horizons": tuple(state["schedule"]["horizons"])})
        self._waiting = {**state, "saved": int(state["saved"]) if enabled else 0}
        if self.resume_schedule == "given":
            if replace(schedule, horizons=(1,)) != replace(self.schedule, horizons=(1,)):
                self._waiting |= {"saved": 0, "states": None}  # of other steps than this schedule's
            schedule = self.schedule
        elif schedule != self.schedule and self.nowcaster is not None:
            log.warning(
                "the schedule of the loaded state takes over: %s (was %s); resume_schedule='given' keeps the new one",
                schedule, self.schedule,
            )  # fmt: skip
        self.schedule, self.counts = schedule, dict(state["counts"])
        if self.settle() and self._waiting is not None:
            self._load_states(self._waiting)

    def _load_states(self, state: dict[str, Any]) -> None:
        """Take over the saved states of a state dict, once it is known which of them are this process's."""
        saved, rows, self._waiting = state["saved"], state.get("states"), None
        if saved and self._of_others(state):
            rank, world = state["share"]
            log.warning(
                "the loaded state holds the part of rank %d of %d alone: the next nowcast is left out; call "
                "`opt.gather_states()` on every rank before rank 0's `state_dict()`, or save with DCP", rank, world,
            )  # fmt: skip
            saved = 0
        elif saved and rows is not None and self.history.shards is not None and "share" not in state:
            rows = self.history.shards.pick(rows)
        self.history.load(rows, saved, bool(state["finite"]), self.schedule.context)


def _not_above(after: float | None, before: float | None) -> bool:
    """Whether the loss did not rise; NaN has risen."""
    return after is not None and before is not None and after <= before


@contextmanager
def _full_precision(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Switch off an ``autocast`` that the step is called in: a nowcast is computed in float32."""
    with ExitStack() as stack:
        for kind in {"cpu", *(p.device.type for p in parameters)}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _synchronize(targets: list[Target]) -> None:
    """Wait for the GPUs, so that timings are true."""
    for device in {t.parameter.device for t in targets if t.parameter.device.type == "cuda"}:
        torch.cuda.synchronize(device)
