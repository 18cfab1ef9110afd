"""Items in order, errors where they are asked for, no thread left behind."""

from __future__ import annotations

import threading
import time

import pytest

from nino.metatrain.prefetch import prefetching


def test_order_and_waiting_time() -> None:
    def slow(i: int) -> int:
        time.sleep(0.05)
        return i * i

    with prefetching(slow, 2, 5) as items:
        found = list(items)
    assert [(i, item) for i, item, _ in found] == [(2, 4), (3, 9), (4, 16)]
    assert all(wait > 0.01 for _, _, wait in found)  # nothing to do meanwhile, so all of it is waiting


def test_items_are_made_while_others_are_used() -> None:
    made: list[int] = []
    with prefetching(lambda i: made.append(i) or i, 0, 10, depth=2) as items:  # type: ignore[func-returns-value]
        next(items)
        deadline = time.monotonic() + 5
        while len(made) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
    assert 3 <= len(made) <= 4  # one used, two ready


def test_errors_reach_the_user_after_what_came_before() -> None:
    def fail(i: int) -> int:
        if i == 2:
            raise ValueError("no item 2")
        return i

    seen = []
    with pytest.raises(ValueError, match="no item 2"), prefetching(fail, 0, 5) as items:
        for i, _, _ in items:
            seen.append(i)
    assert seen == [0, 1]


def test_leaving_early_ends_the_thread() -> None:
    with prefetching(lambda i: i, 0, 1000) as items:
        for i, _, _ in items:
            if i == 3:
                break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
