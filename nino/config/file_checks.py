"""Files that a config names and that nobody will make: they must be there before any job."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from nino.config.errors import ConfigError
from nino.config.experiment import Experiment
from nino.specs import DataSpec, suggest
from nino.specs.data_options import SOURCES, USER_DATA
from nino.specs.local_files import split_files
from nino.specs.methods import PUBLISHED

LISTED = ("csv", "parquet", "text")  # sources that are files, or folders of such files
LOCAL = ("npz", "folder", *LISTED)  # sources of data that are read from `path`, and fetched by nobody


def require_files(run: Experiment) -> None:
    """Refuse a run that names files which are not there.

    Args:
        run: what is about to be started; relative paths start at the working directory.

    Raises:
        ConfigError: names the key of each, its value and what could be meant.
    """
    if missing := [*_weights(run), *_data(run)]:
        raise ConfigError(missing)


def _weights(run: Experiment) -> Iterator[str]:
    for name, method in run.methods.items():
        if method.path is not None:
            yield from _problem(f"evaluate.methods.{name}.path", method.path, known=method.nowcaster == "checkpoint")
    studies: Mapping[str, Mapping[str, str]] = run.config.get("studies", {})
    for name, study in studies.items():
        if "nowcaster" in study:
            yield from _problem(f"studies.{name}.nowcaster", study["nowcaster"], known=True)


def _data(run: Experiment) -> Iterator[str]:
    if run.data_dir is not None and not os.path.isdir(run.data_dir):
        yield from _no_folder(f"data_dir (={str(run.data_dir)!r})", run.data_dir)
    for name in run.used:
        data = run.tasks[name].data
        if data.path is not None and (data.source in LOCAL or data.name not in SOURCES):
            yield from _local(f"tasks.{name}", data, data.path)


def _no_folder(key: str, path: Path) -> Iterator[str]:
    """Why a folder that is not there cannot be made."""
    try:
        path.stat()
        yield f"{key}: a file, not a folder"
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        yield f"{key}: no folder can be made there ({getattr(error, 'strerror', None) or error})"


def _local(task: str, data: DataSpec, path: str) -> Iterator[str]:
    """What is wrong with local data: their path, and the files that are named or looked for in it."""
    key = f"{task}.data.path (={path!r})"
    batches = data.source == "npz" and data.name == "imagenet32"
    if not os.path.exists(path):
        yield f"{key}: no such file or folder{_start(path)}"
    elif (data.source == "folder" or batches) and not os.path.isdir(path):
        yield f"{key}: a file; {data.name} with source {data.source} is a folder"
    elif data.source == "npz" and not batches and not os.path.isfile(path):
        yield f"{key}: a folder; {data.name} with source npz is one file"
    elif data.source in LISTED and data.name in USER_DATA:
        try:
            split_files(data)
        except (FileNotFoundError, ValueError) as error:
            yield f"{task}.{error}"
    elif data.source in LISTED:
        for split, names in (data.options.get("files") or {}).items():
            for name in (names,) if isinstance(names, str) else names or ():
                if not os.path.isfile(os.path.join(path, name)):
                    yield f"{task}.data.options.files.{split} (={name!r}): no such file in {path}"


def _problem(key: str, path: str, known: bool) -> Iterator[str]:
    """What is wrong with a path to weights, which may be a known name instead."""
    if os.path.isfile(path) or (known and path.removesuffix(".pt") in PUBLISHED):
        return
    names = f", and no published weights of this name; {suggest(path, PUBLISHED)}" if known else ""
    yield f"{key} (={path!r}): no such file{_start(path)}{names}"


def _start(path: str) -> str:
    """Where a relative path starts, in brackets."""
    return "" if Path(path).is_absolute() else f" (relative paths start at {Path.cwd().name}/)"
