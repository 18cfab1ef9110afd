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

from tests.workflow import preloaded

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


def command(folder: Path, *arguments: object, overlays: tuple[Path, ...] = (TINY,), code: Path = ROOT) -> list[str]:
    """A Snakemake command that works in ``folder``, by the workflow of a checkout."""
    configs = ["--configfile", *map(str, overlays)] if overlays else []
    where = ["--snakefile", str(code / "Snakefile"), "--directory", str(folder)]
    return [sys.executable, "-m", "snakemake", *where, *configs, *map(str, arguments)]


def snakemake(
    folder: Path, *arguments: object, overlays: tuple[Path, ...] = (TINY,), environment: dict[str, str] | None = None
) -> Ended:
    """Run Snakemake in ``folder`` to its end; it and its jobs start from what is imported already."""
    asked = command(folder, *arguments, overlays=overlays)[3:]
    return Ended(*preloaded.call("snakemake", asked, ROOT, with_preloaded_jobs() | (environment or {})))


def with_preloaded_jobs() -> dict[str, str]:
    """An environment in which `nino` starts from what is imported already."""
    return ENVIRONMENT | {"PATH": os.pathsep.join([str(preloaded.server()), ENVIRONMENT["PATH"]])}


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
