"""The Snakemake workflow, as it travels in the package: rules, configs, profiles and captions, and where they lie."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
"""The workflow's files. A workspace has a copy of those that are its user's to edit."""

WORKFLOW = str(FOLDER / "workflow.smk")
"""The workflow itself, for ``include:`` in a Snakefile."""


def workspace_file(path: str, *folders: Path) -> Path | None:
    """A file that a workspace has of its own.

    Args:
        path: relative to the workspace's folder, such as ``config.yaml`` or ``slurm/site.yaml``; where snakedeploy made
            the workspace, the file lies below ``config/``.
        folders: where to look, the first that has it counts; default the working directory.

    Returns:
        The file; None where no folder has it, and the one in `FOLDER` counts.
    """
    places = (folder / path for top in folders or (Path(),) for folder in (top, top / "config"))
    return next((place for place in places if place.is_file()), None)
