"""Studies that are no training runs: a table, perhaps a figure, and a manifest each."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import typer

from nino.cli import select
from nino.cli.options import ConfigFiles, Device, OutFolder, SpecFile, device_of
from nino.config.errors import ConfigError
from nino.specs import OverheadSpec, PermutationSpec, Spec

T = TypeVar("T", bound=Spec)


def permutation(spec: SpecFile = None, config: ConfigFiles = None, out: OutFolder = None) -> None:
    """Find which permutations of attention the neural graphs see (figure 2d,e of the paper)."""
    unit, folder = _job("permutation", PermutationSpec, spec, config, out)
    from nino.studies.permutation_report import study

    typer.echo(study(unit, folder).plain(), nl=False)


def overhead(spec: SpecFile = None, config: ConfigFiles = None, out: OutFolder = None, device: Device = "auto") -> None:
    """Measure what nowcasts cost a training: peak memory, seconds, share of the training time."""
    unit, folder = _job("overhead", OverheadSpec, spec, config, out)
    from nino.studies.overhead_report import study

    typer.echo(study(unit, folder, device_of(device)).plain(), nl=False)


def _job(name: str, kind: type[T], spec: Path | None, config: list[Path] | None, out: Path | None) -> tuple[T, Path]:
    """What to do, and the run's folder."""
    if spec is not None:
        from nino.config.units import read_unit

        if config or out is None:
            raise ConfigError(["SPEC goes with --out, the folder of the run, and without --config"])
        return read_unit(spec, kind), out
    run = select.experiment(config)
    if name not in run.config.get("studies", {}):
        raise ConfigError([f"studies.{name}: not in the config"])
    return kind.from_dict(run.config["studies"][name]), out or Path("results", run.run)
