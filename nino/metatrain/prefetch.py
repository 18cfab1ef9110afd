"""Preparing the next batches while the current one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def prefetching(
    make: Callable[[int], T], start: int, stop: int, depth: int = 2
) -> Iterator[Iterator[tuple[int, T, float]]]:
    """Make items in a thread of their own, a few ahead of their use.

    Args:
        make: makes item i.
        start: first i.
        stop: one past the last i.
        depth: items made ahead, at least 1.

    Yields:
        An iterator over each i, its item and the seconds spent waiting for it; it raises what ``make`` raised. The
        thread has ended when the block ends.
    """
    with ThreadPoolExecutor(1, "prefetch") as pool:

        def items() -> Iterator[tuple[int, T, float]]:
            ahead = deque(pool.submit(make, i) for i in range(start, min(start + depth, stop)))
            for i in range(start, stop):
                if i + depth < stop:
                    ahead.append(pool.submit(make, i + depth))
                began = perf_counter()
                item = ahead.popleft().result()
                yield i, item, perf_counter() - began

        try:
            yield items()
        finally:
            pool.shutdown(cancel_futures=True)
