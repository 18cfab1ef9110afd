"""A workspace: a folder in which the workflow runs and whose configs are its user's to edit."""

from __future__ import annotations

from pathlib import Path

from nino.files import write_text
from nino.workflow import FOLDER

IGNORED = "# What runs write.\nresults/\n.snakemake/\n"
"""The workspace's ``.gitignore``."""


def lay_out(folder: Path) -> list[Path]:
    """Write what a workspace needs, and leave alone what is there already.

    Args:
        folder: made where it is not there.

    Returns:
        The files written; none where all of them are there.

    Raises:
        FileExistsError: where a file is there and says something else, before anything is written.
    """
    contents = {folder / name: text for name, text in _contents()}
    for path, text in contents.items():
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
            raise FileExistsError(f"{path}: is there and says something else; it stays, and nothing was written")
    missing = [path for path in contents if not path.exists()]
    for path in missing:
        write_text(path, contents[path])
    return missing


def _contents() -> list[tuple[str, str]]:
    """Name and text of each file. Overlays lie where those of a checkout do, so that guides are right about both."""
    sources = {"Snakefile": FOLDER / "Snakefile", "config.yaml": FOLDER / "config.yaml"}
    for folder, place in (("profiles", "profiles"), ("slurm", "slurm"), ("configs", "workflow/configs")):
        for source in sorted((FOLDER / folder).rglob("*.yaml")):
            sources[f"{place}/{source.relative_to(FOLDER / folder).as_posix()}"] = source
    return [(".gitignore", IGNORED), *((name, path.read_text(encoding="utf-8")) for name, path in sources.items())]
