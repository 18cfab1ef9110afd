"""The campaign of injected faults: what counts as a good end, and that the others are listed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.chaos.__main__ import Kind, campaign, report
from benchmarks.chaos.commands import Ended
from benchmarks.chaos.faults import climbing_archive, damage
from benchmarks.chaos.kills import LINE, SAME
from benchmarks.chaos.whole import content


@pytest.mark.parametrize(
    ("code", "text", "good"),
    [
        (1, "nino: error: no", True),
        (2, "a warning\nnino: error: no", True),
        (0, "nino: error: no", False),
        (-9, "", False),
        (1, "Traceback (most recent call last)\nnino: error: no", False),
        (1, "nino: error: no\nnino: error: neither", False),
    ],
)
def test_one_clear_line(code: int, text: str, good: bool) -> None:
    assert Ended(code, text, 0.0).one_line is good


def test_what_is_neither_is_listed_with_its_trial(tmp_path: Path) -> None:
    said = iter([SAME, LINE, "exit -11: gone\naway"])

    def trial(whole: object, folder: Path, draw: random.Random, stage: str) -> str:
        folder.mkdir()  # the one before has been cleared away
        return next(said)

    counts, wrong = campaign(None, tmp_path, [Kind("kills", trial, ("a", "b"), 6)], 0.5, 7)  # type: ignore[arg-type]
    assert counts["kills"] == {SAME: 1, LINE: 1, "wrong": 1}
    assert wrong == ["kills, a, trial 2: exit -11: gone away"]
    text = report(counts, wrong, "`command`", 1.0)
    assert "| kills | 3 | 1 | 1 | 0 | 0 | 1 |" in text and "- kills, a, trial 2: exit -11: gone away" in text
    assert "Nothing went wrong." in report(counts, [], "`command`", 1.0)
    assert list(tmp_path.iterdir()) == []


def test_every_damage_changes_the_file(tmp_path: Path) -> None:
    path, draw, data = tmp_path / "file", random.Random(0), bytes(range(1, 256)) * 8
    for _ in range(50):
        path.write_bytes(data)
        damage(path, draw)
        assert path.read_bytes() != data


def test_times_and_nothing_else_may_differ(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,loss,train_seconds\n1,0.5,3.0\n")
    first = content(path)
    path.write_text("step,loss,train_seconds\n1,0.5,4.0\n")
    assert content(path) == first
    path.write_text("step,loss,train_seconds\n1,0.6,3.0\n")
    assert content(path) != first


@pytest.mark.parametrize("seed", range(4))
def test_archives_do_not_climb_out(tmp_path: Path, seed: int) -> None:
    assert climbing_archive(None, tmp_path, random.Random(seed), "") == LINE  # type: ignore[arg-type]
