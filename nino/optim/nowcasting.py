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
        threads: on which a nowcast is computed on a CPU; None leaves it to the nowcaster.
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
    threads: int | None = None
    still: str = "keep"
    frozen: dict[int, Tensor] = field(default_factory=dict)
    resume_schedule: str = "saved"
    verbose: bool = True
    watch: JumpWatch | None = None
    counts: dict[str, int] = field(default_factory=lambda: {"kept": 0, "put back": 0, "left out": 0})

    @property
    def ranks(self) -> Ranks:
        """This process among those that train together."""
        return Ranks.of(self.process_group)

    # -- before a nowcast ------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether there is a graph, all earlier states are there, and they and the present parameters are finite."""
        whole = self.graph is not None and len(self.history) >= self.schedule.context - 1
        return whole and self.history.finite and bool(within(list(self.named.values()), self.history.dtype))

    def save(self, step: int) -> None:
        """Save the state that step ``step`` starts from, if the schedule asks for it and no earlier one is missing."""
        slot = self.schedule.slot(step)
        if slot is not None and slot <= len(self.history):
            self.history.save(slot)

    def leave_out(self, step: int) -> None:
        """Count a nowcast that is due but not ready, and say why."""
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
        jump, finite, norm = self._proposal(record, targets)
        accepted, after = finite, None
        if finite:
            restore = snapshot(targets) if decides else None
            carried, self.watch = self._notes(targets)
            write(jump, targets, self.ranks)
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
        return [
            Target(parameter, place.offset)
            for place, parameter in zip(self.graph.parameters, self.named.values(), strict=True)
            if parameter.requires_grad and id(parameter) in held and place.name not in carried
        ]

    def _proposal(self, record: NowcastRecord, targets: list[Target]) -> tuple[Jump | None, bool, float]:
        """Rank 0's jump (None elsewhere), whether it is finite, and its norm; an error there is one everywhere."""
        ranks, jump = self.ranks, None
        verdict: tuple[bool, float, str | None] = (False, 0.0, None)
        if self.history.hold:
            try:
                with torch.no_grad(), same_rng(), _full_precision(self.named.values()):
                    jump = self._predict(record)
                    verdict = (*jump.measure(targets), None)
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
                ranks.from_first(lambda: (False, 0.0, failure))
                raise
        finite, norm, said = ranks.from_first(lambda: verdict)
        if said is not None:
            raise RuntimeError(f"step {record.step}: the nowcast failed on rank 0: {said}")
        return jump, finite, norm

    def _predict(self, record: NowcastRecord) -> Jump:
        assert self.nowcaster is not None and self.graph is not None
        parameters = list(self.named.values())
        if isinstance(self.nowcaster, nn.Module):
            # The network computes where its weights are, and fetches the states from where they are a chunk at a time.
            self.nowcaster.to(self.device or parameters[0].device)
        states = self.history.states()
        if hasattr(self.nowcaster, "at_step"):  # what is derived from no class of ours may lack it
            self.nowcaster.at_step(record.step)
        asked: dict[str, Any] = (
            {} if self.threads is None else {"threads": self.threads}
        )  # not every nowcaster of a user's takes it
        prediction = self.nowcaster.predict(self.graph, states, record.k, memory_budget=self.memory_budget, **asked)
        exact = states.dtype == torch.float32 and all(p.dtype.itemsize <= 4 for p in parameters)
        seen = states if self.still == "keep" else None
        return HeldJump(prediction, None if exact else states[:, -1], self.update_scale, seen, self.frozen)

    # -- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Schedule, counts and saved states, and what they belong to, as plain values and tensors."""
        return {
            "format": FORMAT,
            "parameters": {name: list(p.shape) for name, p in self.named.items()},
            "nowcaster": nowcaster_signature(self.nowcaster),
            "graph": None if self.graph is None else self.graph.signature(),
            "schedule": {**vars(self.schedule), "horizons": list(self.schedule.horizons)},
            "counts": dict(self.counts),
            "saved": len(self.history),
            "finite": self.history.finite,
            "states": self.history.rows(),
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
        states: Tensor = state["states"]
        if states.shape[0] not in (0, state["saved"]) or states.shape[1] != self.history.size:
            raise ValueError(
                f"`state_dict` holds states of shape {tuple(states.shape)}, but {state['saved']} of "
                f"{self.history.size} numbers each were saved: it is damaged"
            )
        if self.history.hold and enabled and not states.shape[0] and state["saved"]:
            raise ValueError("`state_dict` comes from a rank that keeps no states: load rank 0's")

    def load_state_dict(self, state: dict[str, Any], enabled: bool) -> None:
        """Take over schedule and counts and, where nowcasts go on, the saved states, once `require_own` has passed."""
        schedule = Schedule(**{**state["schedule"], "horizons": tuple(state["schedule"]["horizons"])})
        saved = int(state["saved"]) if enabled else 0
        rows = state["states"]
        if self.resume_schedule == "given":
            if replace(schedule, horizons=(1,)) != replace(self.schedule, horizons=(1,)):
                saved, rows = 0, rows[:0]  # of other steps than this schedule's
            schedule = self.schedule
        elif schedule != self.schedule and self.nowcaster is not None:
            log.warning(
                "the schedule of the loaded state takes over: %s (was %s); resume_schedule='given' keeps the new one",
                schedule, self.schedule,
            )  # fmt: skip
        self.schedule, self.counts = schedule, dict(state["counts"])
        self.history.load(rows, saved, bool(state["finite"]), schedule.context)


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
