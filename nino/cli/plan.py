"""``nino plan``: what a run will take, before anything starts."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from nino.cli import select
from nino.cli.options import DataDir, Device, device_of


def plan(
    configs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[CONFIG]...", help="Overlays laid over config.yaml, as snakemake's --configfile."),
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    calibrations: Annotated[
        Path | None, typer.Option(help="Calibrations of a GPU (--json there, or plan.json of make gpu): time nothing.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain values instead of a table.")] = False,
) -> None:
    """Estimate jobs, hours, disk and memory of a run from short calibrations; exit with 1 if the disk will not do."""
    run = select.experiment(configs)
    if data_dir is not None:
        run = replace(run, data_dir=data_dir)
    from nino.plan.disk import shortage
    from nino.plan.estimate import plan as estimate
    from nino.plan.measured import Measured
    from nino.plan.printing import as_dict, as_text

    measured = None if calibrations is None else Measured.read(calibrations)
    place = device_of(device).partition(":")[0] if measured is None else measured.device
    estimated = estimate(run, place, measured=measured)
    typer.echo(json.dumps(as_dict(estimated), indent=2) if as_json else as_text(estimated), nl=as_json)
    if problem := shortage(estimated.needs):
        raise OSError(errno.ENOSPC, f"the disk is too small for this run: {problem}")


def room(
    config: Annotated[Path, typer.Argument(help="The whole config as resolved (JSON).")],
    shards: Annotated[list[Path], typer.Argument(help="Shards that are going to be collected.")],
) -> None:
    """Refuse to collect trajectories that the disk cannot hold.

    The workflow asks before its first job, in a process of its own: torch stays out of the one that starts the jobs.
    """
    from nino.config.resolve import resolve
    from nino.plan.disk import require_room

    require_room(resolve(json.loads(config.read_text(encoding="utf-8"))), [path.as_posix() for path in shards])
