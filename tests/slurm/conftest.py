"""A real SLURM of one node, and one run of the workflow on it that all tests look at."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.workflow.driver import ENVIRONMENT, ROOT, TINY, wait_until

HERE = Path(__file__).resolve().parent
# What a real cluster is asked every 20 seconds, this one is asked every second.
IMPATIENT = ("--seconds-between-status-checks=1", "--slurm-init-seconds-before-status-checks=1", "--latency-wait=5")

Record = dict[str, str]


def cluster(action: str, seconds: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(HERE / "cluster.sh"), action], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
    )


def records() -> list[Record]:
    """What the scheduler knows of every job, in the order of submission."""
    shown = cluster("records", 20).stdout.splitlines()
    return [dict(f.split("=", 1) for f in line.split() if "=" in f) for line in shown if line.startswith("JobId=")]


def cancel(*jobs: Record) -> None:
    """Cancel jobs, and wait until their processes are gone."""
    ids = [job["JobId"] for job in jobs]
    subprocess.run(["scancel", "--full", *ids], timeout=20, check=True)
    end = time.monotonic() + 90
    while any(r["JobState"] in ("RUNNING", "COMPLETING") for r in records() if r["JobId"] in ids):
        assert time.monotonic() < end, f"jobs {ids} do not end: {records()}"
        time.sleep(0.5)


@dataclass
class OnCluster:
    """A run whose first driver was killed and one of whose jobs was cancelled in the middle of it."""

    folder: Path
    records: list[Record] = field(default_factory=list)
    killed_at: int = 0
    cancelled: str = ""
    refused: str = ""
    code: int = -1
    text: str = ""

    def command(self, *more: str) -> list[str]:
        """The literal command, on a small config, with its results elsewhere."""
        what = ["--configfile", str(TINY), str(HERE / "cluster.yaml"), "--directory", str(self.folder)]
        return ["snakemake", "--profile", "slurm", *what, *IMPATIENT, *more]

    def ended(self, *more: str, seconds: int = 60) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(
            self.command(*more), env=ENVIRONMENT, cwd=ROOT, timeout=seconds, capture_output=True, text=True
        )

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command."""
        log = (self.folder / "driver.log").open("wb")
        return subprocess.Popen(
            self.command("--quiet", "reason"),
            env=ENVIRONMENT,
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def running(rule: str) -> Callable[[], list[Record]]:
    def those() -> list[Record]:
        return [r for r in records() if rule in r["Comment"] and r["JobState"] == "RUNNING"]

    return those


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    """A cluster that is up, gone again at the end."""
    if os.environ.get("NINO_TEST_SLURM") != "1":
        pytest.skip("starts a SLURM cluster on this machine: set NINO_TEST_SLURM=1 to allow it")
    try:
        started = cluster("start", 480)
        if started.returncode == 3:
            pytest.skip(f"no SLURM here: {started.stderr.strip()}")
        assert started.returncode == 0, started.stderr
        yield
    finally:
        cluster("stop", 90)


@pytest.fixture(scope="session")
def on_cluster(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCluster]:
    """The workflow run through the profile: the driver killed, its jobs cancelled, started again, a job cancelled."""
    run = OnCluster(tmp_path_factory.mktemp("cluster"))
    process = run.start()
    try:
        wait_until(lambda: bool(running("rule_collect")()), process, 240)
        second = run.ended()
        run.refused = "" if second.returncode == 0 else second.stdout + second.stderr
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        cancel(*(r for r in records() if r["JobState"] in ("RUNNING", "PENDING", "COMPLETING")))
        run.killed_at = len(records())
        assert run.ended("--unlock").returncode == 0

        process = run.start()
        wait_until(lambda: bool(running("rule_collect")()), process, 240)
        job = running("rule_collect")()[0]
        run.cancelled = job["JobId"]
        cancel(job)
        run.code = process.wait(timeout=700)
        run.text = (run.folder / "driver.log").read_text(errors="replace")
        run.records = records()
        yield run
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
