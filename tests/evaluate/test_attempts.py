from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nino.evaluate.attempts import give_up, killed, noted
from nino.evaluate.run_folder import LATER
from nino.report.runs import read_runs
from nino.specs import MethodSpec, ReportSpec, ScheduleSpec, TaskSpec

DIE = "import os, sys; from pathlib import Path; from nino.evaluate.attempts import noted\n"
DIE += "with noted(Path(sys.argv[1]), int(sys.argv[2])): os.kill(os.getpid(), int(sys.argv[3]))"
METHOD = MethodSpec("base", "none", label="Adam")
SCHEDULE = ScheduleSpec(period=20)


def die(folder: Path, number: int, by: signal.Signals = signal.SIGKILL, **environment: str) -> None:
    command = [sys.executable, "-c", DIE, str(folder), str(number), str(int(by))]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True)
    assert done.returncode != 0


def finish(folder: Path, number: int, status: str = "done") -> None:
    with noted(folder, number):
        for name in ("log.csv", "nowcasts.csv"):
            (folder / name).write_text(f"{status} {name}")
        (folder / "run.json").write_text(json.dumps({"status": status}))


def test_killed_each_time(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        assert killed(tmp_path, number, attempts=3) is None
        die(tmp_path, number)
    assert killed(tmp_path, 4, attempts=3) == "killed 3 times: most likely its memory ran out"
    assert killed(tmp_path, 1, attempts=3) is None, "the workflow was started anew"


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_once_is_enough_if_no_more_are_made(tmp_path: Path, by: signal.Signals) -> None:
    die(tmp_path, 1, by)
    reason = killed(tmp_path, 2, attempts=1)
    assert reason is not None and reason.startswith("killed: ")


def test_an_interrupt_or_an_error_is_no_kill(tmp_path: Path) -> None:
    die(tmp_path, 1, signal.SIGINT)
    assert killed(tmp_path, 2, attempts=1) is None
    with pytest.raises(ValueError, match="wrong"), noted(tmp_path, 1):
        raise ValueError("wrong")
    assert killed(tmp_path, 2, attempts=1) is None


def test_one_that_never_began_is_tried(tmp_path: Path) -> None:
    """The entry of several trainings was killed before this one's turn."""
    die(tmp_path, 1)
    die(tmp_path, 3)
    assert killed(tmp_path, 4, attempts=3) is None


def test_the_scheduler_is_asked_for_the_cause(tmp_path: Path) -> None:
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text('#!/bin/sh\necho "JobId=$3 JobName=x JobState=TIMEOUT Reason=TimeLimit"\n')
    scontrol.chmod(0o755)
    die(tmp_path, 1, SLURM_JOB_ID="17")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}")
        assert killed(tmp_path, 2, attempts=1) == "killed: its wall time ran out (SLURM job 17: TIMEOUT)"


def test_results_that_a_scheduler_deletes_come_back(tmp_path: Path) -> None:
    finish(tmp_path, 1)
    for name in ("run.json", "log.csv", "nowcasts.csv"):
        (tmp_path / name).unlink()
    with noted(tmp_path, 2):
        assert json.loads((tmp_path / "run.json").read_text()) == {"status": "done"}
        assert (tmp_path / "log.csv").read_text() == "done log.csv"


def test_records_come_back_with_them_where_there_are_any(tmp_path: Path) -> None:
    (tmp_path / "jumps.csv").write_text("a record")
    finish(tmp_path, 1)
    for name in ("run.json", "log.csv", "nowcasts.csv", "jumps.csv"):
        (tmp_path / name).unlink()
    with noted(tmp_path, 2):
        assert (tmp_path / "jumps.csv").read_text() == "a record" and not (tmp_path / "around.csv").exists()


def test_a_failed_run_is_not_kept(tmp_path: Path) -> None:
    finish(tmp_path, 1, "failed")
    (tmp_path / "run.json").unlink()
    with pytest.raises(FileNotFoundError), noted(tmp_path, 2):
        assert not (tmp_path / "run.json").exists()


def test_what_is_given_up_is_a_row(digits, tmp_path: Path) -> None:
    task: TaskSpec = digits.spec
    spec = ReportSpec("run", (task,), (METHOD,), (1000,), SCHEDULE)
    folder = tmp_path / "evaluate" / task.id / "base" / "seed=1000"
    result = give_up(task, METHOD, 1000, SCHEDULE, folder, "killed 3 times: its memory ran out")
    assert json.loads((folder / "run.json").read_text()) == result
    assert all((folder / name).is_file() for name in LATER), "the workflow looks for them after every run"
    row = read_runs(tmp_path, spec).frame.iloc[0]
    assert (row.status, row.reason, row.reached) == ("failed", "killed 3 times: its memory ran out", False)
