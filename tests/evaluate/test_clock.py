import subprocess
import sys
import time

import pytest

from nino.evaluate.clock import Clock, busy_elsewhere


def test_every_second_belongs_to_one_part(monkeypatch) -> None:
    now = iter([0.0, 1.0, 3.0, 10.0, 10.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    clock = Clock(["train", "evaluation"])
    clock.switch("train")
    clock.switch("train")  # already running: time is not looked at
    clock.switch("evaluation")
    clock.switch(None)  # 3.0 .. 10.0 belong to nobody
    clock.switch("train")
    clock.switch(None)
    assert clock.seconds == {"train": 1.5, "evaluation": 2.0}


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(ValueError, match="'tea'; the clock's parts are train"):
        Clock(["train"]).switch("tea")


def test_what_others_have_of_the_cores_is_watched(monkeypatch) -> None:
    """Two cores, others busy for 3 of 8 core-seconds; what is looked at within a second waits for the next look."""
    now, others = iter([0.0, 0.5, 2.0, 4.0, 4.0]), iter([100.0, 101.0, 103.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    monkeypatch.setattr("nino.evaluate.clock.busy_elsewhere", lambda: next(others))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
    clock = Clock(["train", "evaluation"])
    assert clock.share_of_others() is None
    clock.switch("train")
    clock.switch("evaluation")
    clock.switch("train")
    assert clock.elsewhere == (1.0, 4.0)
    assert clock.share_of_others() == pytest.approx(3 / 8)


def test_other_systems_do_not_say(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("nino.evaluate.clock.STAT", tmp_path / "none")
    clock = Clock(["train"])
    clock.switch("train")
    clock.switch(None)
    assert busy_elsewhere() is None and clock.share_of_others() is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the load is read from Linux's /proc/stat")
def test_the_work_of_another_process_is_seen() -> None:
    before = busy_elsewhere()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    assert before is not None and busy_elsewhere() - before > 0.05
