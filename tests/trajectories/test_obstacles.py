"""A good file that cannot be opened now is called neither damaged nor in need of deletion."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from nino.trajectories import TrajectoryFileError, TrajectoryReader, join_shards
from nino.trajectories.obstacles import obstacle

Make = Callable[..., Path]
LOCK = """
import fcntl, sys, time
file = open(sys.argv[1], "rb")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


def refused(read: Callable[[], object]) -> str:
    with pytest.raises(TrajectoryFileError) as error:
        read()
    text = str(error.value)
    assert "\n" not in text and "collect it again" not in text and "damaged" not in text
    assert text.endswith("it may be whole, delete nothing")
    return text


def test_a_shard_that_another_process_has_locked(make_shard: Make, tmp_path: Path) -> None:
    shards, joined = [make_shard(i) for i in range(3)], tmp_path / "joined.h5"
    join_shards(shards, joined, progress=False)
    reader = TrajectoryReader(joined)
    process = subprocess.Popen([sys.executable, "-c", LOCK, str(shards[1])], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        reads = (lambda: TrajectoryReader(shards[1]), lambda: TrajectoryReader(joined), lambda: reader.states(2, [0]))
        for read in (
            *reads,
            lambda: reader.verify(progress=False),
            lambda: join_shards(shards, joined, progress=False),
        ):
            assert "shard=1.h5: another process has locked it: wait until that has ended" in refused(read)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert TrajectoryReader(joined).verify(progress=False) == []


def test_no_file_handles_left(make_shard: Make) -> None:
    path = make_shard(0)
    reader = TrajectoryReader(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)  # the lowest number that is free from now on
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
    try:
        text = refused(lambda: reader.states(0, [0]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "no file handles left: raise their number (`ulimit -n`)" in text
    assert len(reader.states(0, [0])) == 1


@pytest.mark.parametrize(
    ("number", "said", "advice"),
    [
        (errno.EACCES, "unable to open file: errno = 13", "this user may not read it"),
        (errno.ENOLCK, "unable to lock file, errno = 37", "set HDF5_USE_FILE_LOCKING=FALSE"),
        (errno.ENOSYS, "unable to lock file, errno = 38", "set HDF5_USE_FILE_LOCKING=FALSE"),
        (
            errno.ESTALE,
            "file read failed: errno = 116, error message = 'Stale file handle'",
            "(errno 116, Stale file handle): try again",
        ),
        (
            None,
            "Can't read data (file read failed: errno = 5, error message = 'Input/output error', buf = 0)",
            "errno 5",
        ),
    ],
)
def test_what_the_system_says(
    make_shard: Make, monkeypatch: pytest.MonkeyPatch, number: int | None, said: str, advice: str
) -> None:
    path = make_shard(0)
    error = OSError(said) if number is None else OSError(number, said)

    def fails(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(h5py, "File", fails)
        assert advice in refused(lambda: TrajectoryReader(path))
    reader = TrajectoryReader(path)
    with monkeypatch.context() as patched:  # what a disk says in the middle of a file
        patched.setattr(h5py.Dataset, "read_direct", fails)
        refused(lambda: reader.states(0, [0]))
        patched.setattr(h5py.Dataset, "__getitem__", fails)
        refused(lambda: reader.verify(progress=False))


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_no_permission(make_shard: Make) -> None:
    path = make_shard(0)
    path.chmod(0)
    assert "this user may not read it" in refused(lambda: TrajectoryReader(path))


def test_damage_is_no_obstacle() -> None:
    for text in ("truncated file: eof = 1036", "file signature not found", "incorrect metadata checksum"):
        assert obstacle(OSError(f"Unable to synchronously open file ({text})")) is None


def test_a_file_system_without_locks_is_named_by_writers(
    make_shard: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "Unable to synchronously create file (unable to lock file, errno = 37)")

    monkeypatch.setattr(h5py, "File", fails)
    with pytest.raises(TrajectoryFileError, match="its file system has no locks: set HDF5_USE_FILE_LOCKING=FALSE"):
        make_shard(0)
    assert not list((tmp_path / "shards").iterdir())
