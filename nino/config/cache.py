"""What a cached result follows from beside the config of its stage: the data, and the version of the stage's code."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from nino.code_version import STAGES, stage_version
from nino.config.layout import Layout
from nino.files import write_text


def data_checksum(record: Path | str) -> str:
    """The checksum of a task's data, by which cached results know them.

    Args:
        record: what ``nino data`` wrote.

    Raises:
        FileNotFoundError: where it has not been written yet; Snakemake asks again once it is.
    """
    return str(json.loads(Path(record).read_text(encoding="utf-8"))["data"]["checksum"])


def write_versions(layout: Layout, folder: Path = Path(), packages: Iterable[str] = ()) -> None:
    """Write the version of each stage's code where its rule reads it; leave a file alone that says so already.

    Args:
        layout: paths of the run.
        folder: what they are relative to; default the working directory.
        packages: name and version of those that define parts of the run's tasks, beside this one.
    """
    for stage in STAGES:
        path, text = folder / layout.code(stage), stage_version(stage) + "".join(f"{name}\n" for name in packages)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
