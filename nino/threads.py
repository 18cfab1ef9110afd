"""Work in pieces on several CPU threads, each of which runs whole pieces alone, so that none waits for another.

PyTorch splits each operation over threads that meet at its end: beside other programs one that is not scheduled holds
up all. Here a thread takes the next piece when it is done with the last one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Barrier, Lock, Thread
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:  # the `nino` command reads the variable before torch is loaded, which then heeds it
    import torch

VARIABLE = "NINO_THREADS"
AHEAD = 8  # pieces a thread that may be given out before the oldest is done
_setting = Lock()
_before: ContextVar[int | None] = ContextVar("_before", default=None)  # torch's own number outside `work_in_pieces`

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def from_environment() -> int | None:
    """Threads that the environment variable ``NINO_THREADS`` asks for; None where it is not set.

    Raises:
        ValueError: for anything but a whole number from 1 on.
    """
    value = os.environ.get(VARIABLE)
    if value is not None and not (value.isdecimal() and int(value)):
        raise ValueError(f"`{VARIABLE}` (={value!r}) must be a number of threads, at least 1")
    return None if value is None else int(value)


def thread_count(threads: int | None = None) -> int:
    """CPU threads to work with.

    Args:
        threads: as asked for; None takes the environment variable ``NINO_THREADS``, else torch's own number (inside
            `work_in_pieces`, the number that torch had outside it).

    Raises:
        ValueError: for a number below 1, here or in the variable.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"`threads` (={threads}) must be at least 1")
    import torch

    return threads or from_environment() or _before.get() or torch.get_num_threads()


@contextmanager
def work_in_pieces(device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside the block the caller's own operations take one thread on a CPU, and `Workers` as many as outside it.

    For loops of small operations between passes that `Workers` run, such as meta-training: beside other programs an
    operation split over threads waits for the last of them. The setting of torch is put back.

    Args:
        device: where the work computes; on a GPU nothing is changed.

    >>> import torch
    >>> outside = thread_count()
    >>> with work_in_pieces():
    ...     torch.get_num_threads(), thread_count() == outside
    (1, True)
    """
    import torch

    if torch.device(device).type != "cpu":
        yield
        return
    outside = torch.get_num_threads()
    token = _before.set(_before.get() or outside)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(outside)
        _before.reset(token)


class Workers:
    """Threads with one intra-op thread each; the process's own setting and the caller's stay as they are.

    With one thread, where torch would take one as well, and on a GPU, the caller does the work itself.

    Args:
        threads: how many.
        device: where the work computes.

    >>> with Workers(2) as workers:
    ...     list(workers.map(lambda x: x * x, range(4)))
    [0, 1, 4, 9]
    """

    def __init__(self, threads: int, device: torch.device | str = "cpu") -> None:
        """Start the threads, and wait until each has set itself up: the process's setting changes at no later time."""
        import torch

        self.threads = threads
        alone = torch.device(device).type != "cpu" or threads == torch.get_num_threads() == 1
        self._pool = None if alone else ThreadPoolExecutor(threads, "nino", _take_one_thread)
        if self._pool is not None:
            started = Barrier(threads)
            deque(self._pool.map(lambda _: started.wait(), range(threads)), maxlen=0)

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop pieces that have not begun and end the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
        """Results of ``work`` in the order of the pieces, whichever thread is done first.

        Whether gradients and inference mode are on is as in the caller.
        """
        if self._pool is None:
            yield from map(work, pieces)
            return
        import torch

        grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

        def carried(piece: Piece) -> Result:
            with torch.inference_mode(inference), torch.set_grad_enabled(grad):
                return work(piece)

        pending: deque[Future[Result]] = deque()
        for piece in pieces:
            pending.append(self._pool.submit(carried, piece))
            if len(pending) > AHEAD * self.threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def run(self, work: Callable[[Piece], Any], pieces: Iterable[Piece]) -> None:
        """Do ``work`` on every piece."""
        deque(self.map(work, pieces), maxlen=0)

    def reduce(self, work: Callable[[Piece], Result], pieces: Iterable[Piece], take: Callable[[Result], Any]) -> None:
        """Do ``work`` on every piece and ``take`` the results one by one, in the order of the pieces."""
        ready: dict[int, Result] = {}
        taking, due = Lock(), 0

        def do(numbered: tuple[int, Piece]) -> None:
            nonlocal due
            result = work(numbered[1])
            with taking:
                ready[numbered[0]] = result
                while due in ready:
                    take(ready.pop(due))
                    due += 1

        self.run(do, enumerate(pieces))

    def call(self, work: Callable[[], Result]) -> Result:
        """Do one piece of work in one of the threads: its operations take one intra-op thread, too."""
        return next(self.map(lambda _: work(), (None,)))


def _take_one_thread() -> None:
    """Compute without OpenMP threads from now on in this thread, and leave what later threads begin with.

    ``torch.set_num_threads`` sets the number of the thread that calls it and of all that start after it: the latter
    is put back by a thread that does nothing else.
    """
    import torch

    with _setting:
        default = torch.get_num_threads()
        if default > 1:
            torch.set_num_threads(1)
            other = Thread(target=torch.set_num_threads, args=(default,))
            other.start()
            other.join()
