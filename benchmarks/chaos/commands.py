"""`nino` commands that are killed, starved and lied to, each in a fork of a process that has imported all it needs."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: its exit code; negative for the signal that killed it.
        text: what it said on stderr.
        seconds: that it ran.
    """

    code: int
    text: str
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL

    @property
    def one_line(self) -> bool:
        """Whether it refused as a command should: exit code 1 or 2, errors of a line each, no traceback."""
        lines = [line for line in self.text.splitlines() if line.startswith("nino: error: ")]
        return self.code in (1, 2) and len(lines) == 1 and "Traceback" not in self.text


@dataclass
class Running:
    """A command under way.

    Args:
        pid: of its process.
        said: the file of its stderr.
        start: when it was started [seconds].
    """

    pid: int
    said: Path
    start: float

    def wait(self, kill_after: float | None = None, kill_when: Callable[[], bool] = lambda: False) -> Ended:
        """Wait for its end, and bring it about with SIGKILL after so many seconds, or when something is so."""
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            seconds = time.monotonic() - self.start
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return Ended(code, self.said.read_text(errors="replace"), seconds)
            if (kill_after is not None and seconds >= kill_after) or kill_when():
                os.kill(self.pid, signal.SIGKILL)
                kill_after = None
            time.sleep(0.002)


def preload() -> None:
    """Import what commands need, once for all forks; on one thread, as none but the forking one is in a fork."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for module in (
        "metatrain.card",
        "evaluate.run",
        "report.build",
        "report.figures",
        "release.manifest",
        "cli.app",
        "l2o",
    ):
        importlib.import_module(f"nino.{module}")
    for module in (
        "torch._dynamo",
        "torch.onnx",
        "torch.distributed.tensor",
        "sklearn.datasets",
        "pydantic.type_adapter",
        "yaml",
    ):
        importlib.import_module(module)  # what torch and others import when they are first used
    import torch

    torch.set_num_threads(1)


def start(
    folder: Path, *arguments: object, lie: Callable[[], object] = lambda: None, said_in: Path | None = None
) -> Running:
    """Start ``nino`` in a folder.

    Args:
        folder: its working directory.
        *arguments: its arguments.
        lie: called in the new process before the command: what it is made to believe.
        said_in: folder of the file of its stderr; None takes the working directory.
    """
    from nino.cli.app import main

    said = (said_in or folder) / f"said-{time.monotonic_ns()}.txt"
    said.touch()  # a command may be killed before it has opened it
    began = time.monotonic()
    if pid := os.fork():
        return Running(pid, said, began)
    code = 1
    try:
        os.chdir(folder)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["nino", "--quiet", *map(str, arguments)]
        lie()
        main()
        code = 0
    except SystemExit as asked:
        code = asked.code if isinstance(asked.code, int) else 0
    except BaseException:  # what the command line should have made a line of
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(
    folder: Path,
    *arguments: object,
    kill_after: float | None = None,
    lie: Callable[[], object] = lambda: None,
    said_in: Path | None = None,
) -> Ended:
    """Run ``nino`` in a folder to its end, or until it is killed; arguments are those of `start`."""
    return start(folder, *arguments, lie=lie, said_in=said_in).wait(kill_after)
