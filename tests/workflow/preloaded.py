"""Programs that start in milliseconds: forks of a process that has imported what they need.

A test of the workflow starts Snakemake and `nino` dozens of times, and each spends seconds on imports. What runs in a
fork is the program itself, with its caller's arguments, folder, environment and files; it is killed with its caller.
Tests that kill or limit `nino` itself start a real one.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NoReturn

from nino.code_version import STAGES, stage_version

PROGRAMS = {"snakemake": "snakemake.cli", "nino": "nino.cli"}
ALSO = (  # what the programs import when they run
    "snakemake.report.html_reporter",
    "nino.evaluate.run",
    "nino.graphs.recorded",
    "nino.metatrain",
    "nino.release.manifest",
    "nino.report.figures",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "torch._dynamo",
)
CLIENT = """\
#!{python} -IS
import json, os, signal, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
request = json.dumps(["nino", sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
connection.sendall(request)
status = int(connection.recv(16) or b"256")
os.kill(os.getpid(), -status) if status < 0 else sys.exit(status)
"""


@cache
def server() -> Path:
    """Start the process, once; the folder of its ``nino``, for a PATH."""
    folder = tempfile.TemporaryDirectory(prefix="nino-")
    address = str(Path(folder.name, "socket"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.workflow.preloaded", address],
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    atexit.register(folder.cleanup)
    atexit.register(process.wait)
    atexit.register(process.terminate)
    program = Path(folder.name, "nino")
    program.write_text(CLIENT.format(python=sys.executable, address=address))
    program.chmod(0o755)
    return program.parent


def call(program: str, arguments: list[str], cwd: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a program to its end; its exit status, and what it printed."""
    with socket.socket(socket.AF_UNIX) as connection, tempfile.TemporaryFile() as said, open(os.devnull) as nothing:
        connection.connect(str(server() / "socket"))
        request = json.dumps([program, arguments, str(cwd), environment]).encode()
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [nothing.fileno(), said.fileno(), said.fileno()])
        connection.sendall(request)
        status = int(connection.recv(16))
        said.seek(0)
        return status, said.read().decode()


def serve(address: str) -> None:
    """Import, then fork twice for each request: a process that waits, and the program that it waits for."""
    for module in (*PROGRAMS.values(), *ALSO):
        importlib.import_module(module)
    for stage in STAGES:
        stage_version(stage)  # the syntax trees of the package's modules are read once, for each Snakemake
    gc.freeze()  # what is imported stays in the pages that all forks share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks for the status of those that wait
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                attend(connection)
            connection.close()


def run(main: Callable[[], object]) -> NoReturn:
    """Run a program and end as the interpreter does, but leave modules to the kernel: to free them takes a second."""
    status: object = 1
    try:
        status = main()
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        traceback.print_exc()
    if not isinstance(status, int) and status is not None:
        print(status, file=sys.stderr)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0 if status is None else status if isinstance(status, int) else 1)


def attend(connection: socket.socket) -> NoReturn:
    """Run a program, tell its caller how it ended, and kill it where the caller is gone."""
    size, files, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as stream:
        program, arguments, cwd, environment = json.loads(stream.read(int.from_bytes(size, "big")))
    child = os.fork()
    if child == 0:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(cwd)
        sys.argv = [program, *arguments]
        run(importlib.import_module(PROGRAMS[program]).main)
    ended = os.pidfd_open(child)
    if ended in select.select([connection, ended], [], [])[0]:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        connection.send(str(status).encode())
    else:
        os.kill(child, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
