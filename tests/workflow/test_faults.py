"""What goes wrong on a real machine: jobs that are killed, trainings that cannot succeed."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.workflow.driver import ENVIRONMENT, ROOT, TINY, command, snakemake, wait_until

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]


def overlay(folder: Path, text: str) -> tuple[Path, Path]:
    path = folder / "overlay.yaml"
    path.write_text(text)
    return TINY, path


def writers(shard: Path) -> list[int]:
    """Processes that are writing a shard: named in what they leave beside it, ``.shard=0.h5.HOST-PID-START.part``."""
    return [int(path.name.split("-")[-2]) for path in shard.parent.glob(f".{shard.name}.*.part")]


def test_a_job_killed_while_it_writes_leaves_nothing_that_counts_and_is_redone(tmp_path: Path) -> None:
    slow = overlay(
        tmp_path,
        "{tasks: {digits-2: {recipe: {steps: 20000}}}}",
    )
    shard = tmp_path / "results" / "tiny" / "trajectories" / "digits-2" / "shard=0.h5"
    process = subprocess.Popen(
        command(tmp_path, "--cores", 1, "--retries", 0, shard.relative_to(tmp_path), overlays=slow),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
        cwd=ROOT,
    )
    try:
        wait_until(lambda: bool(writers(shard)), process)
        os.kill(writers(shard)[0], signal.SIGKILL)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0 and "collect" in said
    assert not shard.exists()
    short = overlay(tmp_path, "{}")
    again = snakemake(tmp_path, "--cores", 1, shard.relative_to(tmp_path), overlays=short)
    assert again.code == 0 and shard.exists() and again.jobs["collect"] == 1
    assert writers(shard) == [], "what the killed job left is swept up"


WILD = {
    # no gradient survives this learning rate
    "diverges": {"recipe": {"optimizer": "sgd", "lr": 1.0e30, "batch_size": 64, "steps": 40}},
    # more processor time than it is given below
    "endless": {"recipe": {"optimizer": "adam", "lr": 1.0e-2, "batch_size": 64, "steps": 10_000_000}},
    # more than the memory that it is given below
    "too-large": {"model": {"name": "convnet", "options": {"channels": [12000, 12000]}}},
}


def with_limits(folder: Path) -> dict[str, str]:
    """An environment whose ``nino evaluate`` gets 4 GB of address space for tasks that are too large.

    For those that never end it gets 20 seconds of processor time, several times what a busy machine takes to import
    and to begin, after which the kernel kills it as it does where memory runs out.
    """
    real = shutil.which("nino", path=ENVIRONMENT["PATH"])
    wrapper = folder / "bin" / "nino"
    wrapper.parent.mkdir()
    limits = "evaluate*too-large*) ulimit -v 4000000 ;; evaluate*endless*) ulimit -t 20 ;;"
    wrapper.write_text(f'#!/bin/sh\ncase "$*" in {limits} esac\nexec "{real}" "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return {**ENVIRONMENT, "PATH": f"{wrapper.parent}{os.pathsep}{ENVIRONMENT['PATH']}"}


def test_what_cannot_succeed_is_a_row_with_its_reason_and_the_others_complete(tmp_path: Path) -> None:
    base = yaml.safe_load(TINY.read_text())["tasks"]["digits-2"]
    values = {
        "tasks": {name: base | changes for name, changes in WILD.items()},
        "evaluate": {"tasks": ["digits-2", *WILD], "seeds": [1000], "rows": ["base"]},
    }
    layers = overlay(tmp_path, yaml.safe_dump(values))
    tables = Path("results", "tiny", "tables")
    once = ("--retries", 1, "--set-resources", "evaluate:attempts=1")
    done = subprocess.run(
        command(tmp_path, "--cores", 2, tables / "table2.csv", *once, overlays=layers),
        capture_output=True,
        text=True,
        env=with_limits(tmp_path),
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / tables / "table2.csv").open() as file:
        rows = {row["task"]: row for row in csv.DictReader(file)}
    assert {task: row["seeds_diverged_or_failed"] for task, row in rows.items()} == {
        "digits-2": "0",
        "diverges": "1",
        "endless": "1",
        "too-large": "1",
    }
    assert rows["digits-2"]["seeds_reached"] == "1" and rows["digits-2"]["steps_mean"]
    said = (tmp_path / tables / "table2.md").read_text()
    assert "diverges, Adam, seed 1000: diverged (the training loss became nan" in said
    assert "too-large, Adam, seed 1000: failed (out of memory" in said
    assert "endless, Adam, seed 1000: failed (killed: most likely" in said
