"""Commands that are typed often are no more work than their bounds in ``benchmarks/waits.py``, whatever the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.waits import COMMANDS, measure, prepare


@pytest.mark.parametrize("command", COMMANDS)
def test_the_wait_for_a_command_is_bounded(tmp_path: Path, command: str) -> None:
    row = measure(command, tmp_path, prepare(tmp_path), repeats=1, beside=0)
    if row["work"] > row["bound"]:  # once more: the first run also compiles, and reads from the disk
        row = measure(command, tmp_path, prepare(tmp_path), repeats=1, beside=0)
    assert row["work"] <= row["bound"]
