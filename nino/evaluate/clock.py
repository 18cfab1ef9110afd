"""A clock that charges every second of a run to exactly one part of the work, and knows who else was at work then."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import torch

from nino.device import synchronize

STAT = Path("/proc/stat")
LOOK_SECONDS = 1.0  # least time between two looks at the machine's load


def busy_elsewhere() -> float | None:
    """Core-seconds that other processes have had of the cores that this one may use; only differences mean something.

    Returns:
        The seconds; None where the system is not Linux.
    """
    if not STAT.exists():
        return None
    cores = {f"cpu{i}" for i in os.sched_getaffinity(0)}
    ticks = 0
    for name, *counts in map(str.split, STAT.read_text(encoding="utf-8").splitlines()):
        if name in cores:
            user, nice, system, _idle, _waiting, *interrupts = map(int, counts[:8])
            ticks += user + nice + system + sum(interrupts)
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


class Clock:
    """A stopwatch for each part of the work; `switch` stops one and starts another.

    A GPU works asynchronously, so a switch first waits for it: work is charged to the part that asked for it. Nothing
    waits within a part. About every second a switch also notes how much of its cores other processes had meanwhile.

    Args:
        parts: names of the parts.
        device: where the timed work happens.

    Attributes:
        seconds: time that each part has taken, up to the last `switch`.
        elsewhere: core-seconds that other processes have had while it was watched, and the core-seconds there were.

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
        self.elsewhere = (0.0, 0.0)
        self._looked: tuple[float, float] | None = None  # when, and what others had had by then

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
        if self._looked is None or now - self._looked[0] >= LOOK_SECONDS:
            self._look(now)

    def share_of_others(self) -> float | None:
        """The share of this process's cores that others had, in [0, 1]; None where the system does not say."""
        if self._looked is not None and time.perf_counter() > self._looked[0]:
            self._look(time.perf_counter())
        taken, there = self.elsewhere
        return min(1.0, taken / there) if there else None

    def _look(self, now: float) -> None:
        others = busy_elsewhere()
        if others is None:
            return
        if self._looked is not None:
            taken, there = max(0.0, others - self._looked[1]), (now - self._looked[0]) * len(os.sched_getaffinity(0))
            self.elsewhere = (self.elsewhere[0] + taken, self.elsewhere[1] + there)
        self._looked = (now, others)
