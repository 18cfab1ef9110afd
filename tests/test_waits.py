"""Commands that are typed often are no more work than their bounds in ``benchmarks/waits.py``, whatever the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.waits import COMMANDS, UNIT, prepare, run, spent


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds of the processors that ``import torch`` takes here and now."""
    folder = tmp_path_factory.mktemp("unit")
    return spent(UNIT, folder, prepare(folder))[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_wait_for_a_command_is_bounded(tmp_path: Path, unit: float, command: str) -> None:
    environment, bound = prepare(tmp_path), COMMANDS[command][1]
    work = [run(command, tmp_path, environment)[1] / unit]
    if work[0] > bound:  # once more: a first run reads from the disk, and compiles
        work.append(run(command, tmp_path, environment)[1] / unit)
    assert min(work) <= bound
