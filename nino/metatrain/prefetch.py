"""Preparing the next batches while the current one is used."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Makes items in a thread of its own, a few ahead, and measures how long the user waits for them.

    Args:
        make: makes item i.
        start: first i.
        stop: one past the last i.
        depth: items made ahead, at least 1.
    """

    def __init__(self, make: Callable[[int], T], start: int, stop: int, depth: int = 2) -> None:
        """Prepare; the thread starts with the context."""
        self._make = make
        self._range = range(start, stop)
        self._ready: queue.Queue[tuple[T | None, Exception | None]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)

    def __enter__(self) -> Self:
        """Start making items."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and wait for the thread to end."""
        self._stopped.set()
        self._thread.join()

    def __iter__(self) -> Iterator[tuple[int, T, float]]:
        """Yield each i, its item and the seconds spent waiting for it; raise what ``make`` raised."""
        for i in self._range:
            start = time.perf_counter()
            item, error = self._ready.get()
            if error is not None:
                raise error
            assert item is not None
            yield i, item, time.perf_counter() - start

    def _work(self) -> None:
        for i in self._range:
            try:
                made: tuple[T | None, Exception | None] = (self._make(i), None)
            except Exception as error:  # whatever it is, it belongs to the thread that asked for the item
                made = (None, error)
            while not self._stopped.is_set():
                try:
                    self._ready.put(made, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if self._stopped.is_set() or made[1] is not None:
                return
