"""What a cached result depends on beside the config of its stage: the data, and the version of the stage's code."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from nino.config.layout import Layout
from nino.files import write_text
from nino.provenance import versions

# Where the code of each stage whose results can be cached begins; what it imports belongs to it.
STAGES = {"collect": ("nino.trajectories",), "metatrain": ("nino.metatrain",)}
# Packages whose version changes no bytes of a result.
INNOCENT = ("nino", "pandas", "snakemake")

_IMPORT = re.compile(r"^[ \t]*(?:from (nino[\w.]*) import (?:\(([^)]*)\)|([\w, ]*))|import (nino[\w.]*))", re.MULTILINE)


def modules(entries: Iterable[str], package: Path = Path(__file__).parents[1]) -> list[Path]:
    """Files of this package that some modules are made of: their own, and those of all that they import.

    Args:
        entries: module names.
        package: folder of the package.

    Returns:
        Python files, sorted.
    """
    found: set[Path] = set()
    waiting = [file for entry in entries for file in _files(entry, package)]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for source, several, few, plain in _IMPORT.findall(file.read_text(encoding="utf-8")):
            names = re.findall(r"\w+", several or few)
            imported = [plain] if plain else [source, *(f"{source}.{name}" for name in names)]
            waiting += [file for name in imported for file in _files(name, package)]
    return sorted(found)


def stage_version(stage: str, package: Path = Path(__file__).parents[1]) -> str:
    """What the code of a stage is: its files by content, and the versions of the packages it may use.

    Args:
        stage: a key of ``STAGES``.
        package: folder of the package.

    Returns:
        A line a package, and one with the SHA-256 of the files.
    """
    digest = hashlib.sha256()
    for file in modules(STAGES[stage], package):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    used = {name: version for name, version in versions().items() if name not in INNOCENT}
    return "".join(f"{name} {version}\n" for name, version in used.items()) + f"files {digest.hexdigest()}\n"


def data_checksum(record: Path | str) -> str:
    """The checksum of a task's data, by which cached results know them.

    Args:
        record: what ``nino data`` wrote.

    Raises:
        FileNotFoundError: where it has not been written yet; Snakemake asks again once it is.
    """
    return str(json.loads(Path(record).read_text(encoding="utf-8"))["data"]["checksum"])


def write_versions(layout: Layout, folder: Path = Path()) -> None:
    """Write the version of each stage's code where its rule reads it; leave those alone that are the same.

    Args:
        layout: paths of the run.
        folder: what they are relative to; default the working directory.
    """
    for stage in STAGES:
        path, text = folder / layout.code(stage), stage_version(stage)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def _files(name: str, package: Path) -> Iterator[Path]:
    """Files that importing a module runs: its own and the ``__init__`` of the packages above it.

    That of ``nino`` itself is left out: it imports nothing until asked to, and then everything.
    """
    below = name.split(".")[1:]
    for depth in range(1, len(below) + 1):
        path = package.joinpath(*below[:depth])
        yield from (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file())
