"""Run the workflow with a line a job, make its report, print its main tables: what `make smoke` calls.

Usage: python workflow/smoke.py CONFIG CORES. Everything that Snakemake says is in .snakemake/log/.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from nino.config.layout import Layout
from nino.config.load import load

JOB = re.compile(r"^(?:Job|localrule|rule) (\d+): (.*)")
FINISHED = re.compile(r"^Finished jobid: (\d+)")
PROGRESS = re.compile(r"^(\d+) of (\d+) steps \((\d+)%\) done")
NOISE = re.compile(
    r"^(\[\w{3} \w{3} |Select jobs|Execute \d|Finished job|Complete log|Elapsed time|Assuming unres|Using shell"
    r"|Provided|Using workflow specific profile|Workflow defines that rule|Rules claiming|Conda env|Config file"
    r"|Building DAG|Reason:|\s*$)"
)


def condense(lines: Iterable[str], start: float) -> Iterator[str]:
    """Snakemake's output with a line a finished job: how far, how long so far, what, how long it took.

    Args:
        lines: what Snakemake prints, from now on.
        start: when the run began, by ``time.monotonic``.

    Yields:
        One line for each job that ended, and everything that is neither routine nor about a job, as it is.
    """
    running: dict[str, tuple[str, float]] = {}
    ended = ("", start)
    for line in map(str.rstrip, lines):
        if job := JOB.match(line):
            running[job[1]] = (job[2], time.monotonic())
        elif finished := FINISHED.match(line):
            ended = running.pop(finished[1], ("", time.monotonic()))
        elif progress := PROGRESS.match(line):
            now = time.monotonic()
            done, total, percent = progress.groups()
            what = ended[0] or "all"
            yield f"[{done:>3} of {total} {percent:>3} %  {clock(now - start)}] {what} ({now - ended[1]:.0f} s)"
        elif not NOISE.match(line):
            yield line


def clock(seconds: float) -> str:
    """Minutes and seconds.

    >>> clock(125.4)
    '2:05'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def snakemake(*arguments: str, start: float) -> int:
    """Run Snakemake, print its output condensed, and return its exit code."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        # Ctrl-C reaches Snakemake by itself; being terminated must stop its jobs, too
        signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGINT))
        try:
            for line in condense(process.stdout, start):
                print(line, flush=True)
        except KeyboardInterrupt:
            print("smoke: stopping; `make smoke` goes on from here", flush=True)
            process.stdout.read()
    return process.returncode


def drivers() -> list[int]:
    """Processes of other Snakemake runs in this folder."""
    here, found = Path.cwd(), []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid != os.getpid() and any(Path(word).name == "snakemake" for word in words[:4]):
            try:
                if Path(process.cwd()) == here:
                    found.append(process.pid)
            except psutil.Error:  # it ended meanwhile, or is not ours
                continue
    return found


def unlock(common: tuple[str, ...], start: float) -> int:
    """Take away the lock that a killed run left behind; refuse where a run is alive."""
    if not any(Path(".snakemake", "locks").glob("*")):
        return 0
    if others := drivers():
        print(f"smoke: another run is at work in this folder (process {others[0]}): wait for it, or stop it")
        return 1
    print("smoke: the last run was killed; going on where it stopped", flush=True)
    return snakemake(*common, "--unlock", start=start)


def main() -> int:
    """Run, report, print."""
    config, cores = sys.argv[1:]
    start = time.monotonic()
    root = Path(Layout(load([Path(config)])["run"]).root)
    manifest, page = root / "manifest.json", root / "report.html"
    before = manifest.stat().st_mtime_ns if page.exists() and manifest.exists() else None
    common = ("--configfile", config, "--cores", cores)
    print(f"smoke: {config} on {cores} cores -> {root}/", flush=True)
    if code := unlock(common, start) or snakemake(*common, "--quiet", "reason", "host", start=start):
        print(f"smoke: failed after {clock(time.monotonic() - start)}; see the messages above", flush=True)
        return code
    fresh = before is not None and manifest.stat().st_mtime_ns == before
    if not fresh:
        print("smoke: report", flush=True)
        if code := snakemake(*common, "--report", str(page), start=start):
            return code
    for name in ("table1", "table2", "summary"):
        print(f"\n{(root / 'tables' / f'{name}.md').read_text(encoding='utf-8').rstrip()}", flush=True)
    print(f"\nsmoke: tables and figures: {root}/tables, {root}/figures; report: {page.resolve()}")
    took = clock(time.monotonic() - start)
    print(f"smoke: nothing to do, everything is up to date ({took})" if fresh else f"smoke: done in {took}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
