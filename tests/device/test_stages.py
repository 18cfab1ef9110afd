"""Every stage that takes ``--device`` gives the CPU's numbers there (`tests.device.stages`).

One process runs all stages on the device that pretends; where there is an accelerator another one runs them on it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.device.stages import STAGES


@cache
def outcomes(name: str) -> dict[str, str | None]:
    """Stage -> the traceback of its error, None where the numbers were the CPU's."""
    command = [sys.executable, "-m", "tests.device", name]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=550)
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(STAGES), ended.stderr
    return {line["stage"]: line["error"] for line in lines}


@pytest.mark.xdist_group("pretend")
@pytest.mark.parametrize("stage", STAGES)
def test_a_device_that_is_not_the_cpu(stage: str) -> None:
    error = outcomes("pretend")[stage]
    assert error is None, error


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="torch sees no accelerator")
def test_the_accelerator_of_this_machine() -> None:
    errors = [f"{stage}: {error}" for stage, error in outcomes("auto").items() if error is not None]
    assert not errors, "\n".join(errors)
