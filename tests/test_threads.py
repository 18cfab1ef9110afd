"""Work on several threads: results in order, no bit that depends on their number, no setting that stays changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from nino.threads import Workers, thread_count, work_in_pieces


@pytest.fixture
def three() -> Iterator[None]:
    """Torch works with three threads, as in a program of the user's."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def default() -> int:
    """What a new thread begins with."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_results_come_in_order_and_each_thread_computes_alone(three: None) -> None:
    both = Barrier(2)

    def work(piece: int) -> tuple[int, int]:
        both.wait(timeout=60)  # two threads are there, each with a piece
        return piece, torch.get_num_threads()

    with Workers(2) as workers:
        assert list(workers.map(work, range(40))) == [(piece, 1) for piece in range(40)]


def test_settings_stay(three: None) -> None:
    for _ in range(30):
        with Workers(8) as workers:
            assert (torch.get_num_threads(), default()) == (3, 3)  # before any piece, whichever thread begins last
            workers.run(lambda _: None, range(10))
            assert (torch.get_num_threads(), default()) == (3, 3)
        assert (torch.get_num_threads(), default()) == (3, 3)


def test_settings_stay_where_several_threads_begin_at_once(three: None) -> None:
    def nested(_: int) -> list[int]:
        with Workers(2) as workers:
            return list(workers.map(lambda piece: piece, range(5)))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(nested, range(32))) == [list(range(5))] * 32
    assert (torch.get_num_threads(), default()) == (3, 3)


def test_one_thread_alone_is_the_caller() -> None:
    from threading import get_ident

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with Workers(1) as workers:
        assert set(workers.map(lambda _: get_ident(), range(3))) == {get_ident()}
    torch.set_num_threads(before)


def test_the_callers_modes_hold_in_the_threads() -> None:
    with torch.inference_mode(), Workers(2) as workers:
        assert all(workers.map(lambda _: torch.is_inference_mode_enabled(), range(4)))
    with torch.no_grad(), Workers(2) as workers:
        assert not any(workers.map(lambda _: torch.is_grad_enabled(), range(4)))


def test_an_error_reaches_the_caller_and_stops_the_work() -> None:
    done = []

    def work(piece: int) -> None:
        if piece == 1:
            raise ArithmeticError(f"piece {piece}")
        done.append(piece)

    with pytest.raises(ArithmeticError, match="piece 1"), Workers(2) as workers:
        workers.run(work, range(1000))
    assert len(done) < 100


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch, three: None) -> None:
    monkeypatch.delenv("NINO_THREADS", raising=False)
    assert thread_count() == 3
    monkeypatch.setenv("NINO_THREADS", "5")
    assert (thread_count(), thread_count(2)) == (5, 2)
    for value in ("0", "-1", "two", "1.5", ""):
        monkeypatch.setenv("NINO_THREADS", value)
        with pytest.raises(ValueError, match=r"`NINO_THREADS` \(='.*'\) must be a number of threads, at least 1"):
            thread_count()
    with pytest.raises(ValueError, match=r"`threads` \(=0\)"):
        thread_count(0)


def test_a_forked_process_works_on() -> None:
    """Data loaders fork while a training goes on."""
    script = (
        "import os, torch\n"
        "from nino.threads import Workers\n"
        "def square():\n"
        "    with Workers(2) as workers:\n"
        "        return list(workers.map(lambda x: x * x, range(9)))\n"
        "first = square()\n"
        "if (child := os.fork()) == 0:\n"
        "    os._exit(square() != first)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_operations_between_pieces_take_one_thread(three: None) -> None:
    with work_in_pieces():
        assert torch.get_num_threads() == 1 and thread_count() == 3
        with work_in_pieces(), Workers(thread_count()) as workers:
            assert thread_count() == 3 and list(workers.map(lambda _: torch.get_num_threads(), range(3))) == [1] * 3
        assert torch.get_num_threads() == 1 and thread_count(2) == 2
    with pytest.raises(KeyError), work_in_pieces():
        raise KeyError
    assert (torch.get_num_threads(), thread_count(), default()) == (3, 3, 3)
    with work_in_pieces("meta"):
        assert torch.get_num_threads() == 3
