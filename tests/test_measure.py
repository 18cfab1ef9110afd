import mmap
import time

import torch

from nino import measure

CPU = torch.device("cpu")


def test_short_work_is_repeated_and_long_work_is_not() -> None:
    calls = []
    assert measure.seconds(lambda: calls.append(1), CPU) < 0.01
    assert len(calls) == measure.REPEATS + 1
    calls.clear()

    def long() -> None:
        calls.append(1)
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    assert 0.02 <= measure.seconds(long, CPU, budget=0.01) < 0.2
    assert len(calls) == 1


def test_the_peak_is_of_the_work_and_not_of_what_came_before() -> None:
    def take(megabytes: int) -> None:
        torch.ones(megabytes, 2**18)

    large = measure.peak_bytes(lambda: take(256), CPU)
    small = measure.peak_bytes(lambda: take(64), CPU)
    assert 250 * 2**20 < large < 300 * 2**20
    assert 60 * 2**20 < small < 100 * 2**20


def test_memory_sees_what_is_allocated_and_forgets_it() -> None:
    memory = measure.PeakMemory("cpu")
    # pages of its own: the allocator may have as much left over from other tests
    block = torch.frombuffer(mmap.mmap(-1, 160_000_000), dtype=torch.float32).fill_(1)
    assert memory.peak() > 0.15e9
    del block
    memory.reset()
    assert memory.peak() < 0.1e9
