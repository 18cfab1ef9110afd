"""Processes that share the nowcast: equal to one, resumed with another number, and leaving it out together.

Each test starts one process, which forks those that talk to each other (``tests.optim.shared``); the time it has is the
test that none hangs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no distributed support")


def run(folder: Path, *worlds: str, seconds: float = 1200) -> None:
    """Do the jobs of each number of processes, one after the other."""
    command = [sys.executable, "-m", "tests.optim.shared", str(folder), *worlds]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], timeout=seconds, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_processes_nowcast_and_train_as_one_and_resume_with_another_number(tmp_path):
    kinds = ("ddp", "fsdp", "fsdp-bf16", "tp")
    run(
        tmp_path,
        "2=" + ",".join(f"{what}:{kind}" for kind in kinds for what in ("equality", "trains")),
        "4=equality:ddp,equality:fsdp,equality:fsdp-hybrid,equality:tp,equality:tp-2d",
        "4=trains:tp-2d,saves:tp:FOLDER,saves:fsdp:FOLDER",
        "2=resumes:fsdp-as-ddp:FOLDER,resumes:tp-as-fsdp:FOLDER,saves:ddp:FOLDER,files_of_ranks:ddp,files_of_ranks:fsdp",
        "4=resumes:ddp-as-tp:FOLDER",
        "1=resumes:ddp-as-one:FOLDER",
    )


def test_a_process_that_fails_or_sees_nan_makes_all_leave_the_nowcast_out(tmp_path):
    run(tmp_path, "2=leaves_out_together:ddp,leaves_out_together:fsdp", seconds=600)
