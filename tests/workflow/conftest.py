"""One real run of the workflow, for all tests that look at a finished one."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.workflow.driver import ROOT, Finished, command, snakemake, wait_until, with_preloaded_jobs


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run for all tests: killed with SIGKILL in the middle of it, unlocked, finished."""
    run = Finished(tmp_path_factory.mktemp("workflow"))
    process = subprocess.Popen(
        command(run.folder, "--cores", 2),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=with_preloaded_jobs(),
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        wait_until(lambda: any(run.path().glob("trajectories/*/shard=*.h5")), process)
        run.while_running = snakemake(run.folder, "--cores", 1)
        wait_until(lambda: len(list(run.path().glob("evaluate/*/*/*/run.json"))) >= 3, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run.done_when_killed = sorted(run.path().glob("evaluate/*/*/*/run.json"))
    run.after_kill = snakemake(run.folder, "--unlock")
    run.again = snakemake(run.folder, "--cores", 2)
    assert run.again.code == 0, run.again.text
    return run
