import time

import pytest

from nino.evaluate.clock import Clock


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
