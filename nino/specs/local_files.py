"""Which local files a data set of one's own is read from, split by split."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nino.specs.data_options import SUFFIXES
from nino.specs.tasks import DataSpec

SPLITS = ("train", "validation", "test")


def split_files(spec: DataSpec, path: Path | None = None, *, partial: bool = False) -> dict[str, tuple[Path, ...]]:
    """The files of each split of a user's own data set.

    ``data.options.files`` names them; a split that it does not name has the files of the folder whose names start with
    ``train``, ``validation`` or ``test``. A single file, or a folder without such names, is the training split alone.
    Whoever reads the files then cuts the other splits from it, and likewise the splits without files where
    ``data.options.files`` names that of train.

    Args:
        spec: source ``csv``, ``parquet``, ``text`` or ``hub``, whose files are Parquet.
        path: where they are; None takes ``data.path``.
        partial: whether a folder may hold files of some of the splits only.

    Returns:
        The files of ``train``, and of the other splits where they have files, each in the order of their names.

    Raises:
        FileNotFoundError: for a file or folder that is not there, or holds no such files; says what belongs where.
        ValueError: where both ``data.path`` is a file and ``data.options.files`` names others.
    """
    start, suffixes = f"data {spec.name!r}", SUFFIXES[source_files(spec)]
    given: Mapping[str, str | tuple[str, ...]] = spec.options.get("files") or {}
    if path is None:
        if spec.path is None:
            raise FileNotFoundError(f"{start} with source {spec.source!r}: name its file or folder in data.path")
        path = Path(spec.path)
    if not os.path.exists(path):  # pathlib raises for a name that is too long
        where = "which data.path names" if spec.path else "where it lies unless data.path says otherwise"
        raise FileNotFoundError(f"{start}: no file or folder {path}, {where}; put it there, or set data.path")
    if path.is_file():
        if given:
            raise ValueError(f"{start}: data.path is the file {path}; with data.options.files it must be their folder")
        return {"train": (path,)}
    by_split = {split: _matching(path, f"{split}*", suffixes) for split in SPLITS}
    if given:
        named = _named(start, path, given)
        return named | {split: files for split, files in by_split.items() if files and split not in named}
    if not any(by_split.values()):
        by_split = {"train": _matching(path, "*", suffixes)}
    absent = [split for split in SPLITS if split in by_split and not by_split[split]]
    if "train" in absent or (absent and not partial):
        lacks = f"no file {absent[0]}*" if len(by_split) > 1 else "no file"
        raise FileNotFoundError(
            f"{start} has no {absent[0]} split: {lacks} of {', '.join(suffixes)} in {path}; put it there, or name the "
            "file of each split that has one in data.options.files: the others are cut from train"
        )
    return {split: files for split, files in by_split.items() if files}


def source_files(spec: DataSpec) -> str:
    """What the files of a source are: those that were fetched from the hub are Parquet."""
    return "parquet" if spec.source == "hub" else spec.source


def _named(start: str, folder: Path, given: Mapping[str, str | tuple[str, ...]]) -> dict[str, tuple[Path, ...]]:
    """The files that the config names."""
    named = {s: (files,) if isinstance(files, str) else tuple(files) for s, files in given.items() if files is not None}
    for split in named:
        if split not in SPLITS:
            raise ValueError(f"{start}: data.options.files names {split!r}; allowed are {', '.join(SPLITS)}")
    if not named.get("train"):
        raise ValueError(f"{start}: data.options.files names no file of the split train; the others are cut from it")
    files = {split: tuple(folder / name for name in named[split]) for split in SPLITS if split in named}
    for split, paths in files.items():
        for path in paths:
            if not os.path.isfile(path):
                raise FileNotFoundError(f"{start}: no file {path}, which data.options.files.{split} names")
    return files


def _matching(folder: Path, start: str, suffixes: tuple[str, ...]) -> tuple[Path, ...]:
    """The files of a folder whose names begin and end so, in the order of their names; hidden ones are left out."""
    paths = {path for suffix in suffixes for path in folder.glob(f"{start}{suffix}")}
    return tuple(sorted(path for path in paths if path.is_file() and not path.name.startswith(".")))
