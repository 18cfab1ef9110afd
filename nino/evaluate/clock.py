"""A clock that charges every second of a run to exactly one part of the work."""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch

from nino.device import synchronize


class Clock:
    """A stopwatch for each part of the work; `switch` stops one and starts another.

    A GPU works asynchronously, so a switch first waits for it: work is charged to the part that asked for it. Nothing
    waits within a part.

    Args:
        parts: names of the parts.
        device: where the timed work happens.

    Attributes:
        seconds: time that each part has taken, up to the last `switch`.

    >>> clock = Clock(["train", "evaluation"])
    >>> clock.switch("train"); clock.switch("evaluation"); clock.switch(None)
    >>> sorted(clock.seconds)
    ['evaluation', 'train']
    """

    def __init__(self, parts: Iterable[str], device: torch.device | None = None) -> None:
        """See the class."""
        self.seconds: dict[str, float] = dict.fromkeys(parts, 0.0)
        self._device = device
        self._part: str | None = None
        self._since = 0.0

    def charge(self, part: str, seconds: float) -> None:
        """Add seconds that were measured elsewhere to a part, while no part is timed."""
        assert self._part is None
        self.seconds[part] += seconds

    def switch(self, part: str | None) -> None:
        """Charge the time since the last switch to the part that was timed, and start to time ``part`` (None: nothing).

        Raises:
            ValueError: for an unknown part.
        """
        if part is not None and part not in self.seconds:
            raise ValueError(f"`part` is {part!r}; the clock's parts are {', '.join(self.seconds)}")
        if part == self._part:
            return
        if self._device is not None:
            synchronize(self._device)
        now = time.perf_counter()
        if self._part is not None:
            self.seconds[self._part] += now - self._since
        self._part, self._since = part, now
