"""One writer at a time for what takes long to write, also on a file system that several machines share.

A lease is a small file beside what is written. It names its holder (host, process, start) and holds a count that the
holder raises every few seconds. Whether a holder lives is asked of the system where it runs on this machine; elsewhere
the count is watched. No clock of another machine and no time of a file is compared with anything.
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nino.files import full_disk_named
from nino.owners import Owner, lives

log = logging.getLogger(__name__)

BEAT = 10.0  # seconds between two counts
GONE = 60.0  # seconds without a count after which a holder on another machine is taken for dead
POLL = 0.5  # seconds between two looks
EARLIER_PART = re.compile(r"\.(\d+)\.part$")  # versions before this one named the process alone


class InUseError(OSError):
    """Something is being written by another process, which is left alone."""


def sweep(folder: Path, name: str = "") -> None:
    """Remove what killed processes left half-written; what a living one of this machine writes stays.

    Call it with the lease of what is swept: a writer on another machine would hold that.

    Args:
        folder: where.
        name: of the file whose leftovers go; empty takes those of all files.
    """
    for leftover in folder.glob(".*.part"):
        if name and not leftover.name.startswith(f".{name}."):
            continue
        owner = Owner.parse(leftover.name.removesuffix(".part"))
        earlier = EARLIER_PART.search(leftover.name)
        if owner is None and earlier is None:
            continue
        if owner.alive() if owner else lives(int(earlier[1])):  # type: ignore[index]
            continue
        log.warning("%s: removing what a killed job left", leftover)
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


class Lease:
    """A lease that this process holds.

    Args:
        path: what is written.
        file: of the lease.
    """

    def __init__(self, path: Path, file: Path) -> None:
        """The file is there."""
        self.path, self.file = path, file
        self._me = str(Owner.here())

    def require(self) -> None:
        """Refuse to go on where another process has taken the lease over, as this one did not count for a minute.

        Raises:
            InUseError: names what was to be written.
        """
        if (holder := self._holder()) != self._me:
            raise InUseError(
                f"{self.path}: this process stood still and {holder or 'another'} has taken over: nothing is written"
            )

    def count(self, stop: threading.Event) -> None:
        """Raise the count every few seconds."""
        beat = 0
        while not stop.wait(BEAT):
            beat += 1
            try:
                if self._holder() == self._me:
                    with self.file.open("r+", encoding="ascii") as file:
                        file.write(f"{self._me} {beat}")
            except OSError as error:  # the next one may succeed
                log.warning("%s: %s", self.file, error)

    def release(self) -> None:
        """Remove the file, if it is still this process's."""
        if self._holder() == self._me:
            self.file.unlink(missing_ok=True)

    def _holder(self) -> str | None:
        text = _read(self.file)
        return text.partition(" ")[0] if text is not None else None


@contextmanager
def lease(path: Path, *, wait: bool = False) -> Iterator[Lease]:
    """Be the only process that writes ``path``.

    Where the holder was killed, on this machine, the lease is taken over at once; where it runs, or ran, on another
    one, its count is watched for up to a minute.

    Args:
        path: a file or folder that is going to be written; its parent folder is created.
        wait: until another writer has ended, rather than refuse.

    Yields:
        The lease, gone at the end of the block.

    Raises:
        InUseError: where another process is writing it; names the process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = _acquire(path, path.with_name(f".{path.name}.lease"), wait)
    stop = threading.Event()
    counter = threading.Thread(target=held.count, args=(stop,), name=f"lease of {path.name}", daemon=True)
    counter.start()
    try:
        yield held
    finally:
        stop.set()
        counter.join()
        held.release()


def _acquire(path: Path, file: Path, wait: bool) -> Lease:
    said = False
    while True:
        if _create(path, file):
            return Lease(path, file)
        if (seen := _read(file)) is None:  # it has just ended
            continue
        owner = Owner.parse(seen.partition(" ")[0])
        alive = owner.alive() if owner else None
        if alive is None:
            if (now := _watch(file, seen)) is None:
                continue
            alive, owner = now != seen, Owner.parse(now.partition(" ")[0])
        if not alive:
            _bury(file, seen)
            continue
        who = f"process {owner.pid} on {owner.host}" if owner else "another process"
        if not wait:
            raise InUseError(
                f"{path} is being written by {who}: nothing is changed; wait until it has ended, or write elsewhere"
            )
        if not said:
            log.info("%s is being written by %s: waiting for it", path, who)
            said = True
        time.sleep(POLL)


def _create(path: Path, file: Path) -> bool:
    """Write a lease of this process's, unless there is one."""
    try:
        with full_disk_named(path), file.open("x", encoding="ascii") as content:
            try:
                content.write(f"{Owner.here()} 0")
                content.flush()
            except OSError:
                file.unlink(missing_ok=True)
                raise
    except FileExistsError:
        return False
    return True


def _watch(file: Path, seen: str) -> str | None:
    """What a lease says once it says something else, or when its holder must be taken for dead; None if it ended."""
    until = time.monotonic() + GONE
    while (now := _read(file)) == seen and time.monotonic() < until:
        time.sleep(min(POLL, GONE / 10))
    return now


def _bury(file: Path, seen: str) -> None:
    """Remove the lease of a dead holder; one process at a time does, and so none removes what another has taken."""
    guard = file.with_name(f"{file.name}.bury")
    try:
        with guard.open("x", encoding="ascii") as content:
            content.write(str(Owner.here()))
    except FileExistsError:
        said = _read(guard) or ""
        owner = Owner.parse(said)
        alive = owner.alive() if owner else None
        if alive is False or (alive is None and _watch(guard, said) == said):  # killed at this very moment
            guard.unlink(missing_ok=True)
        else:
            time.sleep(POLL)
        return
    try:
        if _read(file) == seen:
            file.unlink(missing_ok=True)
    finally:
        guard.unlink(missing_ok=True)


def _read(file: Path) -> str | None:
    """What a lease says, asked of the file system's server and not of a cache: opening a file does."""
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
