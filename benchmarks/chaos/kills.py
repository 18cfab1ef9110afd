"""SIGKILL at random moments, and processes that meet on one output."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.chaos.commands import run, start
from benchmarks.chaos.whole import RESULTS, ROOT, STAGES, Whole, often, part_files

SAME, LINE = "undisturbed bytes", "one clear line"


def killed(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Kill a stage up to three times, each time somewhere in what it takes undisturbed; then let it end.

    Returns:
        The verdict: ``SAME``, or what is wrong.
    """
    whole.before(stage, folder)
    kills = 0
    for after in [*(draw.uniform(0, whole.seconds[stage]) for _ in range(draw.randint(1, 3))), None]:
        ended = run(folder, *STAGES[stage].arguments, kill_after=after, lie=often)
        if not ended.killed:
            break
        kills += 1
    if ended.code:
        return f"after {kills} kills: exit {ended.code}: {ended.text[-300:]}"
    if left := [path.name for path in part_files(folder)]:
        return f"left behind: {left[0]}"
    return whole.difference(stage, folder) or SAME


def two_at_once(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Start a stage twice on one output; the second one refuses in one line, and the first ends undisturbed."""
    whole.before(stage, folder)
    first = start(folder, *STAGES[stage].arguments, lie=often)
    time.sleep(draw.uniform(0.2, 0.6) * whole.seconds[stage])
    second = run(folder, *STAGES[stage].arguments, lie=often)
    ended = first.wait()
    both = sorted((ended, second), key=lambda each: each.code)
    if both[0].code or (both[1].code and not both[1].one_line):
        return f"exits {ended.code} and {second.code}: {(ended.text + second.text)[-300:]}"
    return whole.difference(stage, folder) or (LINE if both[1].code else SAME)


def killed_driver(whole: Whole, folder: Path, draw: random.Random, stage: str) -> str:
    """Kill Snakemake while its job runs on, unlock, start again: the new job leaves the old one's work alone."""
    whole.before(stage, folder)
    target = str(RESULTS / STAGES[stage].outputs[0] / "run.json")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(folder / "tiny.yaml"), str(folder / "slow.yaml"), "--cores", "1", "--nolock"]
    command += ["--rerun-triggers", "input", "--retries", "0", "--", target]
    (folder / "slow.yaml").write_text("{tasks: {digits-2: {recipe: {steps: 6000}}}, evaluate: {seeds: [1000]}}")
    place = {
        "cwd": ROOT,
        "env": {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    }
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    lease = folder / RESULTS / Path(STAGES[stage].outputs[0]).parent / ".seed=1000.lease"
    log = folder / RESULTS / "logs" / "evaluate" / "digits-2" / "base" / "seed=1000.log"
    driver = subprocess.Popen(command, **place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not lease.exists():
        if driver.poll() is not None or time.monotonic() > until:
            driver.kill()
            return "the first job did not begin"
        time.sleep(0.05)
    time.sleep(draw.uniform(0, 2))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    second = subprocess.run(command, **place, **quiet)
    said = log.read_text(errors="replace") if log.exists() else ""
    verdict = LINE if second.returncode and "is being written by process" in said else None
    while lease.exists() and time.monotonic() < until:
        time.sleep(0.2)
    third = subprocess.run(command, **place, **quiet)
    if third.returncode:
        return f"once the old job had ended: {third.stdout[-300:]}"
    return verdict or f"the second driver ended with {second.returncode}: {said[-300:]}"
