"""Files that are whole or absent: written beside their name, renamed when complete."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nino.owners import part_of

SUMS = "SHA256SUMS"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it to ``path`` once the block ends without an error.

    Args:
        path: the file to write; its folder is created.

    Yields:
        The path to write to. Whatever was written is removed if the block raises.

    Raises:
        OSError: where the disk is full; names ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = part_of(path)
    try:
        with full_disk_named(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a folder beside ``path`` and rename it to ``path`` once the block ends without an error.

    Args:
        path: the folder to write; must not exist.

    Yields:
        The folder to write into; removed if the block raises.

    Raises:
        OSError: where the disk is full; names ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = part_of(path)
    try:
        with full_disk_named(path):
            temporary.mkdir()
            yield temporary
            os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Replace an error that means a full disk by one that says so and names ``path``."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not _is_full(error, path.parent):
            raise
        reason = "the disk is full, so nothing was written; make room and run the same command again"
        raise OSError(errno.ENOSPC, reason, str(path)) from error


def require_space(path: Path, size: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Args:
        path: the file that is going to be written.
        size: of it, at least [bytes].

    Raises:
        OSError: where less is free; names ``path``, what is needed and what there is.
    """
    folder = existing_folder(path)
    free = shutil.disk_usage(folder).free
    if size > free:
        reason = f"the disk is too full: {size:,} bytes are needed, {free:,} are free; make room or write elsewhere"
        raise OSError(errno.ENOSPC, reason, str(path))


def existing_folder(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _is_full(error: OSError | RuntimeError, folder: Path) -> bool:
    """Whether an error means that no space is left; torch says only that its archive has not the size that it wrote."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "inline_container" in str(error) and shutil.disk_usage(folder).free < 2**20


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` at once or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, at once or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def require_whole_archive(path: Path) -> None:
    """Check the CRC-32 of every member of a zip archive, such as ``torch.save`` writes; torch itself does not look.

    Raises:
        ValueError: names the first member that is not as it was written. Other files are left to their own readers.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except (OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: {error}") from error
    if wrong is not None:
        raise ValueError(f"{path}: its part {wrong!r} is not as it was written")


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS``, the digest of every file of a folder, as ``sha256sum --check`` reads it."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != SUMS)
    write_text(folder / SUMS, "".join(f"{sha256(path)}  {path.name}\n" for path in files))


def require_sums(folder: Path, files: Iterable[Path]) -> None:
    """Hold files of a folder to its ``SHA256SUMS``, if it has one.

    Raises:
        ValueError: for a file that is not listed, or has other bytes than were written.
    """
    if not (folder / SUMS).is_file():
        return
    lines = (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for path in files:
        if listed.get(path.name) != sha256(path):
            raise ValueError(f"{path} is damaged: it is not what {folder / SUMS} lists; copy it again")


def sums_below(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files by their `path_below`: files of two folders may share a name."""
    return {path_below(folder, path): sha256(path) for path in dict.fromkeys(paths)}


def path_below(folder: Path, path: Path) -> str:
    """A path below a folder, or below the folder that a file is in; whole where it lies elsewhere."""
    start = folder.parent if folder.is_file() else folder
    return (path.relative_to(start) if path.is_relative_to(start) else path).as_posix()


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
