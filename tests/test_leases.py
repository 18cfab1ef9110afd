"""One writer at a time: on this machine, on several, after kills, and whatever clocks do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nino import leases
from nino.files import replacing
from nino.leases import InUseError, lease, sweep
from nino.owners import Owner, part_of

ELSEWHERE = "node-7-4242-ffffffff99"
HOLD = """
import sys, time
from pathlib import Path
from nino.files import replacing
from nino.leases import lease
path = Path(sys.argv[1])
with lease(path), replacing(path) as part:
    part.write_text("half")
    print("half", flush=True)
    time.sleep(600)
"""


@contextmanager
def another_writer(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written half of ``path`` and goes on."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "half\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is a minute."""
    for name, seconds in (("BEAT", 0.05), ("GONE", 0.5), ("POLL", 0.02)):
        monkeypatch.setattr(leases, name, seconds)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_second_writer_refuses_and_the_first_goes_on_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "shard=0.h5"
    with another_writer(path) as process:
        before = left(tmp_path)
        assert any(f"-{process.pid}-" in name and name.endswith(".part") for name in before)
        with pytest.raises(InUseError, match=f"shard=0.h5 is being written by process {process.pid} on .*wait until"):
            lease(path).__enter__()
        sweep(tmp_path)
        assert left(tmp_path) == before, "what a living process writes stays"
        os.kill(process.pid, signal.SIGSTOP)  # one that is suspended lives
        with pytest.raises(InUseError):
            lease(path).__enter__()
        process.kill()
        process.wait()
        with lease(path):
            sweep(tmp_path, "shard=1.h5")
            assert len(left(tmp_path)) == 2
            sweep(tmp_path, path.name)
            assert left(tmp_path) == [f".{path.name}.lease"]
    assert left(tmp_path) == []


def test_an_ended_process_whose_parent_has_not_asked_is_dead(tmp_path: Path) -> None:
    with another_writer(tmp_path / "file") as process:
        process.kill()
        while (
            process.poll.__self__.returncode is None and Path(f"/proc/{process.pid}/stat").read_text().split()[2] != "Z"
        ):
            time.sleep(0.01)
        with lease(tmp_path / "file"):
            pass


def test_a_process_that_got_the_number_of_a_dead_one_is_another(tmp_path: Path) -> None:
    here = Owner.here()
    assert here.alive() and Owner.parse(str(here)) == here
    reborn = Owner(here.host, here.pid, f"{here.start[:8]}{int(here.start[8:]) - 1}")
    assert reborn.alive() is False
    (tmp_path / f".file.{reborn}.part").write_text("")
    part_of(tmp_path / "file").write_text("")
    sweep(tmp_path)
    assert left(tmp_path) == [part_of(tmp_path / "file").name]


def test_parts_of_earlier_versions_name_the_process_alone(tmp_path: Path) -> None:
    (tmp_path / f".file.{os.getpid()}.part").write_text("")
    (tmp_path / ".file.999999999.part").write_text("")
    (tmp_path / ".other.part").write_text("")
    sweep(tmp_path)
    assert left(tmp_path) == [f".file.{os.getpid()}.part", ".other.part"]


@contextmanager
def counting(file: Path) -> Iterator[None]:
    """A holder on another machine."""
    stop = threading.Event()

    def count() -> None:
        for beat in range(10_000):
            file.write_text(f"{ELSEWHERE} {beat}")
            os.utime(file, (0, 2e9 * (beat % 2)))  # a clock that jumps between 1970 and 2033
            if stop.wait(0.05):
                return

    file.write_text(f"{ELSEWHERE} 0")
    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_living_holder_on_another_machine(tmp_path: Path, impatient: None) -> None:
    with counting(tmp_path / ".file.lease"):
        with pytest.raises(InUseError, match="file is being written by process 4242 on node-7"):
            lease(tmp_path / "file").__enter__()
    start = time.monotonic()
    with lease(tmp_path / "file"):  # it no longer counts
        assert time.monotonic() - start >= 0.5
    assert left(tmp_path) == []


@pytest.mark.parametrize("text", [f"{ELSEWHERE} 7", "", "damaged"])
def test_a_holder_that_does_not_count_is_dead_whatever_the_clock_says(
    tmp_path: Path, impatient: None, text: str
) -> None:
    file = tmp_path / ".file.lease"
    file.write_text(text)
    os.utime(file, (4e9, 4e9))
    with lease(tmp_path / "file"):
        assert file.read_text().startswith(str(Owner.here()))


def test_a_holder_that_stood_still_writes_nothing_once_another_has_taken_over(tmp_path: Path, impatient: None) -> None:
    path, file = tmp_path / "file", tmp_path / ".file.lease"
    with pytest.raises(InUseError, match=f"file: this process stood still and {ELSEWHERE} has taken over"):
        with lease(path) as held, replacing(path) as part:
            part.write_text("late")
            held.require()
            file.write_text(f"{ELSEWHERE} 0")
            time.sleep(0.2)
            held.require()
    assert left(tmp_path) == [".file.lease"] and file.read_text() == f"{ELSEWHERE} 0"


def test_a_living_holder_counts(tmp_path: Path, impatient: None) -> None:
    with lease(tmp_path / "file"):
        first = (tmp_path / ".file.lease").read_text()
        time.sleep(0.3)
        assert (tmp_path / ".file.lease").read_text() != first


def test_of_many_that_find_a_dead_holder_one_takes_over(tmp_path: Path, impatient: None) -> None:
    here = Owner.here()
    for number in range(20):
        path = tmp_path / str(number)
        dead = Owner(here.host, here.pid, f"{here.start[:8]}1")
        path.with_name(f".{number}.lease").write_text(f"{dead} 5")
        barrier, outcomes, inside = threading.Barrier(6), [], []

        def contend(path: Path, barrier: threading.Barrier, outcomes: list[int], inside: list[int]) -> None:
            barrier.wait()
            try:
                with lease(path):
                    inside.append(1)
                    outcomes.append(len(inside))
                    time.sleep(0.02)
                    inside.pop()
            except InUseError:
                outcomes.append(0)

        threads = [threading.Thread(target=contend, args=(path, barrier, outcomes, inside)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(outcomes) <= {0, 1} and outcomes.count(1) >= 1
    assert left(tmp_path) == []


def test_a_process_that_was_killed_while_it_took_over_holds_nobody_up(tmp_path: Path, impatient: None) -> None:
    here = Owner.here()
    dead = Owner(here.host, here.pid, f"{here.start[:8]}1")
    for guard in (str(dead), ELSEWHERE, ""):
        (tmp_path / ".file.lease").write_text(f"{dead} 5")
        (tmp_path / ".file.lease.bury").write_text(guard)
        with lease(tmp_path / "file"):
            pass
        assert left(tmp_path) == []


def in_turn(make: Callable[[], object]) -> list[object]:
    """What two threads get that ask for the same at once."""
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(make())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_caches_are_made_once_and_waited_for(tmp_path: Path, impatient: None) -> None:
    import numpy as np

    from nino.tasks.archives import cached_arrays
    from nino.tasks.tokens import cached_blocks

    made: list[str] = []

    def rows(split: str) -> list[str]:
        made.append(split)
        time.sleep(0.1)
        return ["abcdefgh"]

    def images() -> dict[str, np.ndarray]:
        made.append("images")
        time.sleep(0.1)
        return {"x": np.zeros(3)}

    key = {"source": "s", "tokenizer": "t", "block": 4, "group": 3}
    first, second = in_turn(lambda: cached_blocks(tmp_path, key, rows, lambda r: [list(t.encode()) for t in r], 256))
    assert first["train"].digest() == second["train"].digest()  # type: ignore[index]
    assert len(in_turn(lambda: cached_arrays(tmp_path / "images.npz", images))) == 2
    assert sorted(made) == ["images", "test", "train", "validation"]
    assert not [name for name in left(tmp_path) if name.startswith(".")]
