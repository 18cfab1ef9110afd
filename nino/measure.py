"""One way to time work and to measure the memory that it takes: for plans, studies and benchmarks."""

from __future__ import annotations

import ctypes
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch

from nino.device import peak_allocated, reset_peak, synchronize

BUDGET_SECONDS = 0.5
REPEATS = 20
Clock = Callable[[torch.device | str], float]
_CLEAR_REFS = Path("/proc/self/clear_refs")


def wall_clock(device: torch.device | str) -> float:
    """Seconds of the wall clock, a GPU waited for; only differences mean something."""
    synchronize(device)
    return perf_counter()


def clock(device: torch.device | str) -> float:
    """Wall-clock time for work on a GPU; on a CPU this process's CPU time, which other processes affect little."""
    return process_time() if torch.device(device).type == "cpu" else wall_clock(device)


def seconds(work: Callable[[], object], device: torch.device | str, budget: float = BUDGET_SECONDS) -> float:
    """Median seconds of a piece of work by `clock`, after one run that warms up.

    Args:
        work: what to time.
        device: where it computes.
        budget: time to spend on repeats [s]; work that takes longer is timed once, its warm-up included.
    """
    times = [elapsed(work, device)]
    if times[0] > budget:
        return times[0]
    times = [elapsed(work, device)]
    while len(times) < REPEATS and sum(times) < budget:
        times.append(elapsed(work, device))
    return median(times)


def elapsed(work: Callable[[], object], device: torch.device | str, now: Clock = clock) -> float:
    """Seconds of one run of a piece of work by a clock, `clock` or `wall_clock`."""
    start = now(device)
    work()
    return now(device) - start


class PeakMemory:
    """Peak memory above what was held at the start: allocated on a GPU, else resident in this process.

    Args:
        device: whose memory; most GPUs' allocators keep count themselves. Elsewhere Linux restarts its count on
            request; where the system cannot, the peak is that since the process began.
    """

    def __init__(self, device: torch.device | str) -> None:
        """Note what is held now."""
        self._device = torch.device(device)
        self._before = 0
        self.reset()
        self._before = self.peak()

    def reset(self) -> None:
        """Forget the peak so far, where the system can."""
        if not reset_peak(self._device) and _CLEAR_REFS.exists():
            _CLEAR_REFS.write_text("5")

    def peak(self) -> int:
        """The most held since the last `reset`, above what was held at the start [bytes]."""
        return most_bytes(self._device) - self._before


def peak_bytes(work: Callable[[], object], device: torch.device | str) -> int:
    """The most memory that a piece of work takes beside what was held before it.

    Args:
        work: what to measure.
        device: where it computes, see `PeakMemory`.
    """
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # freed memory that the allocator keeps would be taken again unseen
            trim(0)
    memory = PeakMemory(device)
    work()
    synchronize(device)
    return max(0, memory.peak())


def most_bytes(device: torch.device | str = "cpu") -> int:
    """The most memory held: on a GPU that counts and on Linux since the last `PeakMemory.reset`, else ever."""
    allocated = peak_allocated(torch.device(device))
    return (_status("VmHWM") or _most_resident()) if allocated is None else allocated


def resident_bytes() -> int:
    """Memory that this process holds now; the most that it has held where the system does not say."""
    return _status("VmRSS") or _most_resident()


def _status(field: str) -> int:
    """A line of ``/proc/self/status`` [bytes], 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def _most_resident() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # Linux counts in kilobytes
