"""Which process writes a file, and whether it lives."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

OWNER = re.compile(r"(?P<host>[^/]+)-(?P<pid>\d+)-(?P<start>[0-9a-f]{8}\d+)")


@dataclass(frozen=True)
class Owner:
    """A process.

    Args:
        host: its machine's name, for people.
        pid: its number there.
        start: which table of processes the number stands in (eight hexadecimal digits for machine, boot and container)
            and when the process was started (ticks since then).
    """

    host: str
    pid: int
    start: str

    @classmethod
    def here(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(
            re.sub(r"[^A-Za-z0-9_.-]", "_", os.uname().nodename)[:40] or "host", pid, f"{_table()}{_ticks(pid) or 0}"
        )

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The process that a text names, as ``str`` gives it; None for another text.

        >>> Owner.parse("node-7-4242-0123abcd99"), Owner.parse("4242")
        (Owner(host='node-7', pid=4242, start='0123abcd99'), None)
        """
        match = OWNER.fullmatch(text)
        return cls(match["host"], int(match["pid"]), match["start"]) if match else None

    def __str__(self) -> str:
        """Host, process and start as a part of a file's name."""
        return f"{self.host}-{self.pid}-{self.start}"

    def alive(self) -> bool | None:
        """Whether the process lives; None where it is one of another machine, boot or container."""
        if self.start[:8] != _table():
            return None
        return lives(self.pid) and (_ticks(self.pid) or 0) == int(self.start[8:])


@cache
def _table() -> str:
    """Stands for this machine since it was booted, and for the container that this process sees of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        about = boot + os.readlink("/proc/self/ns/pid")
    except OSError:  # systems without /proc
        about = os.uname().nodename
    return hashlib.sha256(about.encode()).hexdigest()[:8]


def _ticks(pid: int) -> int | None:
    """When a process was started, in ticks since the boot; None where that cannot be told, or it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *fields = stat.rpartition(b")")[2].split()
    return None if state in b"ZX" else int(fields[18])  # an ended process stays until its parent has asked


def lives(pid: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def part_of(path: Path) -> Path:
    """Where this process writes what will be ``path``: beside it, named after host, process and start."""
    return path.with_name(f".{path.name}.{Owner.here()}.part")
