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

from nino.device import same_rng, synchronize
from nino.optim.copies import Carried, masters_of
from nino.optim.history import History, largest, within
from nino.optim.jump import Jump, Target, snapshot, write, write_masters
from nino.optim.nowcast_record import NowcastRecord
from nino.optim.optimizer_view import OptimizerLike
from nino.optim.shards import local
from nino.optim.shared_states import SharedStates
from nino.optim.still import HeldJump
from nino.optim.watch import JumpWatch
from nino.schedule import Schedule

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.base import Nowcaster

log = logging.getLogger("nino.optim")


@dataclass(eq=False)
class Nowcasting(SharedStates):
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
        threads: on which a nowcast is computed on a CPU; None leaves it to the nowcaster.
        still: ``keep`` leaves elements where they are that are equal in all states; ``predict`` moves them.
        frozen: elements that stay in any case: masks by the ``id`` of the parameter.
        resume_schedule: which schedule rules after loading a state: the ``saved`` one or the ``given`` one.
        verbose: whether a kept nowcast is reported at level INFO; else at DEBUG.
        watch: the last nowcast, until the base optimizer's next step has been compared with it.
        counts: how many nowcasts were ``kept``, ``put back`` and ``left out`` (states were missing or not finite, or a
            process failed); also ``taken back``, once the base optimizer has undone one.
        to_record: ``topology`` and ``unknown`` (see ``neural_graph``) for a graph that the next forward pass will give.
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
    threads: int | None = None
    still: str = "keep"
    frozen: dict[int, Tensor] = field(default_factory=dict)
    resume_schedule: str = "saved"
    verbose: bool = True
    watch: JumpWatch | None = None
    counts: dict[str, int] = field(default_factory=lambda: {"kept": 0, "put back": 0, "left out": 0})
    to_record: tuple[str, str] | None = None
    _agreed: bool = field(default=False, init=False)

    # -- before a nowcast ------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether a nowcast is possible: a graph and all earlier states are there, and no value is NaN or too large.

        Among several processes this is what ``agree`` found, so that all of them take the same kind of step.
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
        if slot is None or slot > len(self.history) or not self.settle():
            return
        if slot == 0:  # the largest allocation of all
            try:
                self.history.allocate()
                self.ranks.agree(None)
            except Exception as error:
                self.history.clear()
                if not self.ranks.fail(error):
                    raise
                log.warning("step %d: no state saved on any rank: %s: %s", step, type(error).__name__, error)
                return
        self.history.save(slot, self._precise())

    def _precise(self) -> list[Tensor]:
        """The parameters of a process on its own, in the precision in which the base optimizer keeps them."""
        parameters = list(self.named.values())
        masters = {} if self.apart else masters_of(self.base, parameters)
        return [masters.get(id(p), p.detach()) for p in parameters]

    def leave_out(self, step: int) -> None:
        """Count a nowcast that is due but not ready, and say why."""
        self.counts["left out"] += 1
        held = dict(zip(self.named, self._held(), strict=True))
        limit = largest(self.history.dtype, sum(p.numel() for p in held.values()))
        bad = [name for name, p in held.items() if not bool((p.abs() <= limit).all())]
        reason = None
        if bad:
            reason = f"parameter {bad[0]!r} holds NaN, infinity or more than {limit:.3g}; has the training diverged?"
        elif self.graph is None:
            reason = "the model has had no forward pass to record its neural graph from: call it, or pass `graph`"
        elif not self.history.finite:
            reason = f"an earlier state of this period held NaN, infinity or more than {limit:.3g}"
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

        Raises:
            Exception: what the nowcaster or ``measure`` raised; the parameters are as they were.
        """
        clock = perf_counter()
        targets = self.targets()
        proposal = self._proposal(record, targets, measured=measure is not None)
        if proposal is None:
            self.counts["left out"] += 1
            return replace(record, seconds=seconds + perf_counter() - clock, accepted=False)
        jump, finite, norm, restore, carried, watch = proposal
        accepted, after = finite, None
        if finite:
            write(jump, targets)
            for device in {t.parameter.device for t in targets}:
                synchronize(device)  # so that timings are true
            written = perf_counter()
            if measure is not None and restore is not None:
                try:
                    after = measure()
                except BaseException:
                    restore()
                    raise
                if decides and not _not_above(after, record.loss_before):
                    accepted = False
                    restore()
            if accepted:
                carried.shift(write_masters(jump, targets))
                watch.jumped(carried.copies)
                self.watch = watch
            # A loss that is only reported is no part of the nowcast's cost.
            seconds += (perf_counter() if decides else written) - clock
        else:
            seconds += perf_counter() - clock
        self.counts["kept" if accepted else "put back"] += 1
        record = replace(record, seconds=seconds, norm=norm, finite=finite, accepted=accepted, loss_after=after)
        shown = logging.INFO if self.verbose and self.ranks.leads else logging.DEBUG
        log.log(shown if accepted else logging.WARNING, "%s", record)
        return record

    def targets(self) -> list[Target]:
        """The parameters that nowcasts write: trained by the base optimizer, not frozen, on an edge of the graph."""
        assert self.graph is not None  # no nowcast is due without
        held = {id(p) for group in self.base.param_groups for p in group["params"]}
        carried = set(self.graph.carried)
        shards = self.history.shards
        precise, targets = self._precise(), []
        for i, (name, parameter) in enumerate(self.named.items()):
            if parameter.requires_grad and id(parameter) in held and name not in carried:
                places = (self.graph if shards is None else shards.graph).parameters
                present = precise[i] if shards is None else shards[i]
                shard = None if shards is None else shards.shards[i]
                master = shards is None and present.data_ptr() != parameter.data_ptr()
                targets.append(Target(parameter, places[i].offset, present, shard, master))
        return targets

    def _proposal(
        self, record: NowcastRecord, targets: list[Target], *, measured: bool
    ) -> tuple[Jump, bool, float, Callable[[], None] | None, Carried, JumpWatch] | None:
        """The jump (or this process's part), whether all of it is finite, its norm, and what must be kept before it.

        What is kept may not fit into memory, so it is allocated before anything is written: a copy of the parameters,
        where the jump will be measured, the values of those that the base optimizer has copies of, and a sample.

        Returns:
            None where a process could not do its part or states are missing: then all leave the nowcast out.

        Raises:
            Exception: what the nowcaster raised, where no process could do its part.
        """
        ranks, shards = self.ranks, self.history.shards
        if len(self.history) < self.schedule.context:  # there was no room for them
            return None
        written = {id(t.parameter) for t in targets}
        named = {name: p for name, p in self.named.items() if id(p) in written}
        try:
            with torch.no_grad(), same_rng(), _full_precision(self.named.values()):
                jump = self._predict(record, targets)
                mine = jump.measure(targets)
            restore = snapshot(targets) if measured else None
            carried, watch = Carried(self.base, list(named.values())), JumpWatch(self.base, named)
            everywhere = ranks.agree((*mine, carried.sums))
            carried.choose([sums for *_, sums in everywhere])
            ranks.agree(None)
        except Exception as error:
            others = ranks.fail(error)
            alone = shards is not None and not shards.even  # rank 0, for all
            if not others or (alone and ranks.leads):
                raise
            if alone:
                raise RuntimeError(f"step {record.step}: the nowcast failed on {error}") from error
            log.warning("step %d: nowcast left out on all ranks: %s: %s", record.step, type(error).__name__, error)
            return None
        norm = sum(square for _, square, _ in everywhere) ** 0.5
        return jump, all(finite for finite, *_ in everywhere), norm, restore, carried, watch

    def _predict(self, record: NowcastRecord, targets: list[Target]) -> Jump:
        assert self.nowcaster is not None and self.graph is not None
        parameters = list(self.named.values())
        if isinstance(self.nowcaster, nn.Module):
            # The network computes where its weights are, and fetches the states from where they are a chunk at a time.
            self.nowcaster.to(self.device or parameters[0].device)
        states, shards = self.history.states(), self.history.shards
        graph = self.graph if shards is None else shards.graph
        if hasattr(self.nowcaster, "at_step"):  # what is derived from no class of ours may lack it
            self.nowcaster.at_step(record.step)
        # not every nowcaster of a user's takes it
        asked: dict[str, Any] = {} if self.threads is None else {"threads": self.threads}
        if shards is None or shards.computes:
            prediction = self.nowcaster.predict(graph, states, record.k, memory_budget=self.memory_budget, **asked)
        else:
            prediction = torch.empty(0)
        exact = states.dtype == torch.float32 and all(t.present.dtype.itemsize <= 4 for t in targets)
        seen = states if self.still == "keep" else None
        return HeldJump(prediction, None if exact else states[:, -1], self.update_scale, seen, self.frozen)


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
