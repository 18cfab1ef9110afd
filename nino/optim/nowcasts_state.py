"""The nowcasts of a training as ``torch.distributed.checkpoint`` stores them: with any number of processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nino.optim.steps import NowcastSteps


class NowcastsState:
    """What stands under ``nino`` in a wrapper's state, with ``state_dict`` and ``load_state_dict`` as DCP calls them.

    All processes save and load together, as many as then train; the base optimizer's part is stored beside it::

        dcp.save({"model": ..., "optimizer": ..., "nowcasts": opt.nowcasts}, checkpoint_id=folder)

    Args:
        opt: the wrapper.
    """

    def __init__(self, opt: NowcastSteps) -> None:
        """See the class."""
        self._opt = opt

    def state_dict(self) -> dict[str, Any]:
        """Step, schedule and counts as JSON, and views of all c states of each parameter, saved or not.

        Raises:
            ValueError: before the model's graph is known, which says who holds what.
        """
        nowcasting = self._opt.nowcasting
        if not nowcasting.settle():
            raise ValueError(
                "the model has had no forward pass to record its neural graph from: run one before saving or loading "
                "with DCP, or pass `graph`"
            )
        about = {"step": self._opt.steps, "enabled": self._opt.enabled, **nowcasting.about()}
        states = dict(zip(nowcasting.named, nowcasting.history.spread(), strict=True))
        return {"about": json.dumps(about), "states": {name: state for name, state in states.items() if state.numel()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the state was taken, once DCP has filled the views; see ``NiNo.load_state_dict``."""
        self._opt.resume(json.loads(state_dict["about"]))
