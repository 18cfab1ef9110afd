"""Let a process that trains on the CPU keep the memory it frees."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 2**31 - 1  # mallopt takes an int


def keep_freed_memory() -> bool:
    """Have glibc's allocator reuse freed memory, however large the piece, instead of giving it back to the kernel.

    By default each piece of several megabytes, such as a convolution's output, is mapped anew at every step and
    unmapped after it, and the kernel fills every page with zeros in between: a quarter to a half of a small network's
    step. The price is that the process stays as large as it has ever been. It acts on the whole process, which is why
    the ``nino`` command calls it and the library never does.

    Returns:
        Whether the allocator took it: False on systems without glibc, where nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST))
