"""``nino init``: a folder to run the benchmark in."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from nino.extras import DISTRIBUTION


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the workspace; made where it is not there.")],
) -> None:
    """Lay out a workspace: config.yaml, Snakefile, overlays and profiles, yours to edit. Overwrites nothing."""
    from nino.workflow.workspace import lay_out

    written = lay_out(folder.expanduser())
    typer.echo(f"{folder}: {len(written)} files written" if written else f"{folder}: everything is there already")
    if find_spec("snakemake") is None:
        typer.echo(f"first: pip install '{DISTRIBUTION}[benchmark]'")
    typer.echo(f"next:\n  cd {shlex.quote(str(folder))}")
    typer.echo("  snakemake --cores 2 --configfile workflow/configs/smoke.yaml")
