"""After a nowcast: did the base optimizer's next step go on from the jump, or take it back?"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nino.optim.copies import distance, sums_of
from nino.optim.optimizer_tensors import OptimizerTensor, optimizer_tensors
from nino.optim.shards import local

log = logging.getLogger("nino.optim")

SAMPLE = 4096  # elements of each parameter that are looked at
FEWEST = 8  # a step that points straight back by chance must be unlikely
BACK = -0.9  # cosine of the angle between a step that goes back and the jump
MOST = 2.0  # of the jump: a step that goes back further is an ordinary one, beside which the jump is small
SHARE, SHARE_UNNAMED = 0.1, 0.5  # of the jump that is taken back: with a state that may be the reason, and without


class JumpWatch:
    """Notes a sample of the weights around a nowcast, to compare the base optimizer's next step with it.

    Args:
        base: the optimizer.
        named: the parameters that the nowcast may write, by name, before it does.
    """

    def __init__(self, base: Any, named: Mapping[str, Tensor]) -> None:
        """Note the weights before the nowcast."""
        self._base, self._named = base, dict(named)
        self._before = {name: _sample(p) for name, p in self._named.items()}
        self._after: dict[str, Tensor] = {}
        self._carried: list[OptimizerTensor] = []

    def jumped(self, carried: list[OptimizerTensor]) -> None:
        """Note the weights after the nowcast, and which copies went with them."""
        self._after = {name: _sample(p) for name, p in self._named.items()}
        self._carried = carried

    def lasts(self) -> bool:
        """Whether the weights are those after the nowcast still: they may have been loaded since, or set."""
        return all(torch.equal(_sample(p), self._after[name]) for name, p in self._named.items())

    def check(self, step: int) -> bool:
        """Compare the weights after the base optimizer's step ``step``, and warn where it took the nowcast back.

        Returns:
            Whether it went on from the nowcast.
        """
        shares = {name: share for name in self._named if (share := self._taken_back(name)) > SHARE}
        if not shares:
            return True
        name = max(shares, key=shares.__getitem__)
        suspect = self._suspect(self._named[name])
        if suspect is None and shares[name] < SHARE_UNNAMED:
            return True
        carried = sorted({str(entry) for entry in self._carried})
        why = f"it may compute weights from {suspect}" if suspect else "it may keep a copy of the weights out of sight"
        also = f" (the change was carried into {', '.join(carried)})" if carried else ""
        log.warning(
            "step %d: %s took back %.0f %% of the nowcast's change of %r: %s, which NiNo does not know as a copy of "
            "them%s; nowcasts are lost on this optimizer, use another one",
            step, type(self._base).__name__, 100 * min(shares[name], 1), name, why, also,
        )  # fmt: skip
        return False

    def _taken_back(self, name: str) -> float:
        """The share of a parameter's jump that the step took back; 0 where it did not point straight back."""
        jump = self._after[name] - self._before[name]
        step = _sample(self._named[name]) - self._after[name]
        along, size = float(jump @ step), float(jump @ jump)
        if jump.numel() < FEWEST or size == 0:
            return 0.0
        straight = along <= BACK * math.sqrt(size * float(step @ step))
        return -along / size if straight and -MOST * size <= along < 0 else 0.0

    def _suspect(self, parameter: Tensor) -> OptimizerTensor | None:
        """The tensor of its size in the optimizer, not carried along, that lies nearest to it; no moment does."""
        carried = {entry.place for entry in self._carried}
        others = [entry for entry in optimizer_tensors(self._base, [parameter]) if entry.place not in carried]
        near = [(apart, entry) for entry in others if (apart := distance([sums_of(entry)])) < 0.9]
        return min(near, key=lambda pair: pair[0])[1] if near else None


def _sample(parameter: Tensor) -> Tensor:
    """Up to `SAMPLE` elements of what lies in this process, evenly spaced."""
    flat = local(parameter).reshape(-1)
    return flat[:: max(1, -(-flat.numel() // SAMPLE))].to(torch.float64, copy=True)
