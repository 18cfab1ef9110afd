"""Files that a config names and that nobody will make: they must be there before any job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from nino.config.errors import ConfigError
from nino.config.experiment import Experiment
from nino.specs import suggest
from nino.specs.methods import PUBLISHED

LOCAL = ("npz", "folder", "csv", "parquet", "text")  # sources of data that are read from `path`, and fetched by nobody


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
    if run.data_dir is not None and run.data_dir.exists() and not run.data_dir.is_dir():
        yield f"data_dir (={str(run.data_dir)!r}): a file, not a folder"
    for name in run.used:
        data = run.tasks[name].data
        if data.path is not None and data.source in LOCAL and not Path(data.path).exists():
            yield f"tasks.{name}.data.path (={data.path!r}): no such file or folder{_start(data.path)}"


def _problem(key: str, path: str, known: bool) -> Iterator[str]:
    """What is wrong with a path to weights, which may be a known name instead."""
    if Path(path).is_file() or (known and path.removesuffix(".pt") in PUBLISHED):
        return
    names = f", and no published weights of this name; {suggest(path, PUBLISHED)}" if known else ""
    yield f"{key} (={path!r}): no such file{_start(path)}{names}"


def _start(path: str) -> str:
    """Where a relative path starts, in brackets."""
    return "" if Path(path).is_absolute() else f" (relative paths start at {Path.cwd().name}/)"
