"""A real SLURM of one node, and two runs of the workflow on it that all tests look at."""

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
# The tables alone; one attempt of three minutes and 2 GB a training, in an entry of its own.
SHORT = (
    *("results/doomed/tables/table2.csv", "--retries", "1", "--group-components", "convnet=1", "--set-resources"),
    *("evaluate:attempts=1", "evaluate:runtime=3", "evaluate:mem_mb=2000"),
)

Record = dict[str, str]


def cluster(action: str, seconds: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(HERE / "cluster.sh"), action], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
    )


def cancel(run: OnCluster, *jobs: Record) -> None:
    """Cancel jobs, and wait until their processes are gone."""
    ids = [job["JobId"] for job in jobs]
    subprocess.run(["scancel", "--full", *ids], timeout=20, check=True)
    end = time.monotonic() + 90
    while any(r["JobState"] in ("RUNNING", "COMPLETING") for r in run.seen() if r["JobId"] in ids):
        assert time.monotonic() < end, f"jobs {ids} do not end: {run.seen()}"
        time.sleep(0.5)


@dataclass
class OnCluster:
    """A run: its folder, its overlay, and how it ended."""

    folder: Path
    overlay: Path
    more: tuple[str, ...] = ()
    records: list[Record] = field(default_factory=list)
    killed_at: int = 0
    cancelled: str = ""
    refused: str = ""
    code: int = -1
    text: str = ""

    def command(self, *more: str) -> list[str]:
        """The literal command, on a small config, with its results elsewhere."""
        what = ["--configfile", str(TINY), str(self.overlay), "--directory", str(self.folder)]
        return ["snakemake", "--profile", "slurm", *what, *IMPATIENT, *self.more, *more]

    def ended(self, *more: str, seconds: int = 60) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(
            self.command(*more), env=ENVIRONMENT, cwd=ROOT, timeout=seconds, capture_output=True, text=True
        )

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command."""
        with (self.folder / "driver.log").open("wb") as log:
            return subprocess.Popen(
                self.command("--quiet", "reason"),
                env=ENVIRONMENT,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end and keep what is known of it."""
        self.code = process.wait(timeout=700)
        self.text = (self.folder / "driver.log").read_text(errors="replace")
        self.records = self.seen()

    def seen(self) -> list[Record]:
        """What the scheduler knows of this run's jobs, in the order of submission."""
        shown = cluster("records", 20).stdout.splitlines()
        every = [dict(f.split("=", 1) for f in line.split() if "=" in f) for line in shown if line.startswith("JobId=")]
        return [record for record in every if record["WorkDir"] == str(self.folder)]

    def running(self, rule: str) -> Callable[[], list[Record]]:
        """Asks for its jobs of a rule that run."""
        return lambda: [r for r in self.seen() if rule in r["Comment"] and r["JobState"] == "RUNNING"]


def killed(process: subprocess.Popen[bytes]) -> None:
    """Kill a driver with all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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
def doomed_driver(
    slurm: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[OnCluster, subprocess.Popen[bytes]]]:
    """A run that goes on beside the other: its trainings get three minutes and 2 GB, not enough for all of them."""
    run = OnCluster(tmp_path_factory.mktemp("doomed"), HERE / "doomed.yaml", SHORT)
    process = run.start()
    yield run, process
    killed(process)


@pytest.fixture(scope="session")
def on_cluster(
    slurm: None,
    doomed_driver: tuple[OnCluster, subprocess.Popen[bytes]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OnCluster]:
    """The workflow run through the profile: the driver killed, its jobs cancelled, started again, a job cancelled."""
    run = OnCluster(tmp_path_factory.mktemp("cluster"), HERE / "cluster.yaml")
    process = run.start()
    try:
        wait_until(lambda: bool(run.running("rule_collect")()), process, 240)
        second = run.ended()
        run.refused = "" if second.returncode == 0 else second.stdout + second.stderr
        killed(process)
        cancel(run, *(r for r in run.seen() if r["JobState"] in ("RUNNING", "PENDING", "COMPLETING")))
        run.killed_at = len(run.seen())
        assert run.ended("--unlock").returncode == 0

        process = run.start()
        wait_until(lambda: bool(run.running("rule_collect")()), process, 240)
        job = run.running("rule_collect")()[0]
        run.cancelled = job["JobId"]
        cancel(run, job)
        run.finish(process)
        yield run
    finally:
        killed(process)


@pytest.fixture(scope="session")
def doomed(on_cluster: OnCluster, doomed_driver: tuple[OnCluster, subprocess.Popen[bytes]]) -> OnCluster:
    """That run, ended."""
    run, process = doomed_driver
    run.finish(process)
    return run
