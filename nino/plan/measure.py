"""Seconds and peak memory of a piece of work, here and now."""

from __future__ import annotations

import ctypes
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch

BUDGET_SECONDS = 0.5
REPEATS = 20


def seconds(work: Callable[[], object], device: torch.device, budget: float = BUDGET_SECONDS) -> float:
    """Median seconds of a piece of work, after one run that warms up.

    On the CPU they are the process's own, of the one core that a job has: what else the machine does counts little.

    Args:
        work: what to time.
        device: where it computes; a GPU is waited for.
        budget: time to spend on repeats [s]; work that takes longer than that is timed once, warm-up and all.
    """
    times = [_once(work, device)]
    if times[0] > budget:
        return times[0]
    times = [_once(work, device)]
    while len(times) < REPEATS and sum(times) < budget:
        times.append(_once(work, device))
    return median(times)


def _once(work: Callable[[], object], device: torch.device) -> float:
    clock = process_time if device.type == "cpu" else perf_counter
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def resident_bytes() -> int:
    """Memory that this process holds now; the most it has held where the system does not say."""
    return _status("VmRSS") or _most()


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """The most memory that a piece of work takes beside what was held before it.

    Args:
        work: what to measure.
        device: a GPU's allocator keeps count itself; on the CPU it is the process's, which Linux counts anew on
            request. Elsewhere it is how much the process grew, which may be less.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with _fresh_peak() as before:
        work()
        return max(0, (_status("VmHWM") or _most()) - before)


@contextmanager
def _fresh_peak() -> Iterator[int]:
    """Give back what the allocator keeps, set the process's peak to what is left, and yield that."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)
    reset = Path("/proc/self/clear_refs")
    if reset.exists() and trim is not None:
        reset.write_text("5")
    yield _status("VmHWM") or _most()


def _status(field: str) -> int:
    """A line of ``/proc/self/status`` [bytes], 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def _most() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
