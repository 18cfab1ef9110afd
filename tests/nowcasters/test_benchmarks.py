"""The benchmark of the core: busy neighbours end with a measurement, and its table compares what belongs together."""

from __future__ import annotations

from typing import Any

import psutil
import pytest

from benchmarks.core import merged, neighbours, shared_cores, table


def busy() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "while True: pass" in child.cmdline()]


def test_neighbours_end_with_the_measurement_also_where_it_fails() -> None:
    with pytest.raises(ArithmeticError), neighbours(2):
        assert len(busy()) == 2
        raise ArithmeticError
    assert not busy()


def row(threads: int, beside: int, seconds: float, **more: Any) -> dict[str, Any]:
    about = {"what": "nowcast", "model": "m", "engine": "streamed", "parameters": 1000, "seconds": [seconds]}
    return about | {"threads": threads, "neighbours": beside} | more


def test_busy_is_compared_with_quiet_and_two_threads_with_one() -> None:
    rows = [row(2, 0, 1.0), row(1, 0, 1.8), row(1, 2, 3.0), row(2, 2, 2.0)]
    (line,) = shared_cores(rows)
    assert "2.00 times the quiet time with 2 threads, 1.67 times with one" in line
    assert "2 threads are 1.80 times as fast as one quiet, 1.50 times busy" in line
    assert shared_cores(rows[:3]) == [] and line in table(rows)


def test_a_run_before_there_were_neighbours_is_measured_again() -> None:
    old = {name: value for name, value in row(2, 0, 9.0).items() if name not in ("threads", "neighbours")}
    assert merged([old, row(2, 2, 5.0)], [row(2, 0, 1.0)]) == [row(2, 0, 1.0), row(2, 2, 5.0)]
