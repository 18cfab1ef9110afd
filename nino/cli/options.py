"""Arguments that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from nino.config.errors import ConfigError


def _at_home(path: Path | None) -> Path | None:
    """The path with ``~`` spelled out: shells leave that in ``--out=~/x`` as it is."""
    return None if path is None else path.expanduser()


def finite(value: float) -> float:
    """A number; NaN and infinity are none."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number.")
    return value


SpecFile = Annotated[
    Path | None, typer.Argument(metavar="[SPEC]", help="Resolved spec file of the job; or give --config and names.")
]
ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--config", help="Overlay laid over config.yaml, as snakemake's --configfile; may be repeated."),
]
TaskName = Annotated[str | None, typer.Option("--task", help="Task, with --config.")]
OutFile = Annotated[
    Path | None, typer.Option("--out", callback=_at_home, help="File to write; default its place under results/<run>/.")
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", callback=_at_home, help="Folder to write to; default its place under results/<run>/."),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", callback=_at_home, help="Folder of data sets; default that of the config, else the cache."
    ),
]
Device = Annotated[
    str,
    typer.Option("--device", help="auto (the GPU if there is one), cpu, or torch's name: cuda:1, xpu, mps, ..."),
]
Topology = Literal["released", "exact", "naive"]
TopologyName = Annotated[Topology, typer.Option("--topology", help="Which neural graph is read.")]
UpdateScale = Annotated[float, typer.Option("--update-scale", callback=finite, help="Factor on the change.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; default NINO_THREADS, else torch's own number.")
]


def device_of(name: str) -> str:
    """What ``--device`` means here.

    Raises:
        ConfigError: for a device that is not there.
    """
    from nino.device import device_named

    try:
        return str(device_named(name))
    except ValueError as error:
        raise ConfigError([str(error).replace("`device`", "--device")]) from error
