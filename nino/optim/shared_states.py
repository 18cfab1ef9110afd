"""The saved states of a model: whose part each process keeps, and how they are stored and loaded again."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from nino.optim.checks import compare_parameters
from nino.optim.history import History
from nino.optim.shards import Shards, is_sharded
from nino.optim.signature import nowcaster_signature
from nino.ranks import Ranks
from nino.schedule import Schedule

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.base import Nowcaster
    from nino.optim.watch import JumpWatch

log = logging.getLogger("nino.optim")

FORMAT = 1  # of the state dict


class SharedStates:
    """What ``Nowcasting`` does with its states beside nowcasting from them; see there for the attributes."""

    named: dict[str, Tensor]
    nowcaster: Nowcaster | None
    graph: NeuralGraph | None
    schedule: Schedule
    history: History
    counts: dict[str, int]
    process_group: Any
    resume_schedule: str
    watch: JumpWatch | None
    _waiting: dict[str, Any] | None = None  # a loaded state, until it is known who keeps which part of it

    @property
    def ranks(self) -> Ranks:
        """This process among those that train together."""
        return Ranks.of(self.process_group)

    @property
    def apart(self) -> bool:
        """Whether several processes train together, or parameters are ``DTensor``."""
        return self.ranks.world > 1 or any(map(is_sharded, self.named.values()))

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

    def state_dict(self) -> dict[str, Any]:
        """Schedule, counts and saved states, and what they belong to, as plain values and tensors.

        Where processes share the model, each one's states are its own, and `share` says whose, unless
        ``history.gather`` has joined them.
        """
        ranks, whole, shards = self.ranks, self.history.whole, self.history.shards
        partial = shards is not None and whole is None and (shards.even or not ranks.leads)
        states = self.history.rows() if whole is None else whole
        return {**self.about(), "states": states, **({"share": [ranks.rank, ranks.world]} if partial else {})}

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
        self.schedule, self.counts, self.watch = schedule, dict(state["counts"]), None
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
