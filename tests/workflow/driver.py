"""Starting Snakemake in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "workflow" / "tiny.yaml"
RUN = Path("results", "tiny")

# Rules start `nino` from the PATH: the one beside this interpreter.
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@dataclass
class Ended:
    """How a Snakemake run ended."""

    code: int
    text: str

    @property
    def jobs(self) -> dict[str, int]:
        """How many jobs of each rule were planned."""
        table = self.text.partition("Job stats:")[2].partition("total")[0]
        return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def command(folder: Path, *arguments: object, overlays: tuple[Path, ...] = (TINY,)) -> list[str]:
    """A Snakemake command that works in ``folder``."""
    configs = ["--configfile", *map(str, overlays)] if overlays else []
    where = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    return [sys.executable, "-m", "snakemake", *where, *configs, *map(str, arguments)]


def snakemake(folder: Path, *arguments: object, overlays: tuple[Path, ...] = (TINY,)) -> Ended:
    """Run Snakemake in ``folder`` to its end."""
    done = subprocess.run(
        command(folder, *arguments, overlays=overlays),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
        cwd=ROOT,
    )
    return Ended(done.returncode, done.stdout)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Wait for something that a running process does."""
    start = time.monotonic()
    while not condition():
        assert process.poll() is None, "the run ended first"
        assert time.monotonic() - start < seconds, "it did not happen"
        time.sleep(0.1)


@dataclass
class Finished:
    """A run that was killed half-way and then finished."""

    folder: Path
    done_when_killed: list[Path] = field(default_factory=list)
    while_running: Ended | None = None
    after_kill: Ended | None = None
    again: Ended | None = None

    def path(self, *parts: str) -> Path:
        """A path below the run's results."""
        return self.folder / RUN / Path(*parts)
