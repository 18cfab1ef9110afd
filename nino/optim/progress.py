"""How far a training is, and how its next nowcast will be taken."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nino.optim.nowcast_record import NowcastRecord


@dataclass(eq=False)
class Progress:
    """What changes while an optimizer steps, in one object.

    Fabric and Lightning hand out objects that look like the optimizer and forward only what they lack: whatever they
    forward or copy must lead to the same numbers.

    Args:
        enabled: whether nowcasts take place.
        accept: ``finite`` or ``loss``, see ``NiNo``.
        loss: returns the loss on a batch; None where there is none.
        steps: taken so far.
        next_stop: the next step at which there is more to do than the base optimizer's step.
        next_nowcast: the next step that is a nowcast.
        last_nowcast: its record; None before the first.
        pre_hooks: called before each nowcast.
        post_hooks: called after each nowcast.
    """

    enabled: bool
    accept: str = "finite"
    loss: Callable[[], Any] | None = None
    steps: int = 0
    next_stop: float = math.inf
    next_nowcast: float = math.inf
    last_nowcast: NowcastRecord | None = None
    pre_hooks: OrderedDict[int, Callable[..., None]] = field(default_factory=OrderedDict)
    post_hooks: OrderedDict[int, Callable[..., None]] = field(default_factory=OrderedDict)
