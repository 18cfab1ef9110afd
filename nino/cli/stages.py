"""From data to fitted nowcasters: one command for each stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nino.cli import select
from nino.cli.options import ConfigFiles, DataDir, Device, OutFile, OutFolder, SpecFile, TaskName, device_of
from nino.config.errors import ConfigError


def data(
    spec: SpecFile = None,
    config: ConfigFiles = None,
    task: TaskName = None,
    out: OutFile = None,
    data_dir: DataDir = None,
    download: Annotated[bool, typer.Option(help="Whether missing data may be fetched.")] = True,
) -> None:
    """Fetch and check a task's data; write its sizes and checksum (JSON)."""
    job = select.task_job(spec, config, task)
    path = job.out(out, job.layout.data(job.unit.id))
    from nino.files import write_json
    from nino.tasks import load_task

    loaded = load_task(job.unit, job.data_dir(data_dir), download=download)
    write_json(path, loaded.describe())


def collect(
    shard: Annotated[int, typer.Option(help="Which shard, from 0.", min=0)],
    spec: SpecFile = None,
    config: ConfigFiles = None,
    task: TaskName = None,
    out: OutFile = None,
    data_dir: DataDir = None,
    device: Device = "auto",
) -> None:
    """Train the networks of one shard and store their states (HDF5)."""
    job = select.trajectory_job(spec, config, task)
    path = job.out(out, job.layout.shard(job.unit.task.id, shard))
    from nino.tasks import load_task
    from nino.trajectories import shard_seeds
    from nino.trajectories.collect import collect_shard

    shard_seeds(job.unit.trajectories, shard)  # refuses a shard that there is not, before data are loaded
    loaded = load_task(job.unit.task, job.data_dir(data_dir), device=device_of(device))
    collect_shard(loaded, job.unit.trajectories, shard, path)


def join(
    shards: Annotated[list[Path] | None, typer.Argument(help="The shards; or give --config and --task.")] = None,
    config: ConfigFiles = None,
    task: TaskName = None,
    models: Annotated[
        int | None, typer.Option(min=1, help="Join the first shards of a collection alone, with this many networks.")
    ] = None,
    out: OutFile = None,
) -> None:
    """Check a task's shards, chunk by chunk, and join them into one data set (HDF5, virtual)."""
    if shards:
        if out is None or config or task:
            raise ConfigError(["SHARDS go with --out, and without --config and --task"])
        path = out
    else:
        job = select.trajectory_job(None, config, task)
        name, run = job.unit.task.id, select.experiment(config)
        shards = [Path(job.layout.shard(name, i)) for i in run.shards(name)]
        if models is not None:
            shards = shards[: -(-models // run.trajectories[name].models_per_shard)]
        path = job.out(out, job.layout.dataset(name))
    from nino.trajectories import join_shards

    join_shards(shards, path, models=models)


def datasheet(
    dataset: Annotated[Path, typer.Argument(help="Joined data set, or a shard.")],
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default beside the data set.")] = None,
) -> None:
    """Describe a trajectory file (Markdown), generated from the file itself."""
    from nino.files import write_text
    from nino.trajectories.datasheet import datasheet as describe

    write_text(out or dataset.with_suffix(".md"), describe(dataset))


def metatrain(
    spec: SpecFile = None,
    config: ConfigFiles = None,
    nowcaster: Annotated[str | None, typer.Option(help="Which of metatrain.nowcasters, with --config.")] = None,
    trajectories: Annotated[
        list[Path] | None,
        typer.Option(help="Data set of each of its tasks, in their order; default those of the run."),
    ] = None,
    out: OutFolder = None,
    data_dir: DataDir = None,
    device: Device = "auto",
) -> None:
    """Fit a nowcaster to trajectories; go on where a killed fit stopped (safetensors).

    On several GPUs, or in several processes of a CPU: torchrun --nproc-per-node N -m nino metatrain ...
    """
    job = select.metatrain_job(spec, config, nowcaster)
    unit = job.unit
    folder = job.out(out, job.layout.fit(unit.name))
    if trajectories is None and job.experiment is not None:
        trajectories = [Path(job.layout.dataset(task)) for task in unit.tasks]
    if len(trajectories or ()) != len(unit.tasks):
        given = len(trajectories or ())
        raise ConfigError([f"--trajectories: give {len(unit.tasks)} files, for {', '.join(unit.tasks)}; got {given}"])
    from nino.metatrain import metatrain as fit
    from nino.metatrain import open_sources
    from nino.ranks import joined

    paths = dict(zip(unit.tasks, trajectories or (), strict=True))
    topology: Any = unit.metatrain.topology  # one of those that the config's schema allows
    asked = device_of(device)
    sources = open_sources(paths, data_dir=job.data_dir(data_dir), topology=topology)
    with joined(asked) as (ranks, place):
        fit(unit.metatrain, sources, folder, device=place, ranks=ranks)


def card(
    checkpoint: Annotated[Path, typer.Argument(help="best.safetensors or last.safetensors of a fit.")],
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default README.md beside it.")] = None,
) -> None:
    """Describe a fitted nowcaster (Markdown, a model card), generated from its files."""
    from nino.files import write_text
    from nino.metatrain.card import model_card

    write_text(out or checkpoint.with_name("README.md"), model_card(checkpoint))


def l2o(
    spec: SpecFile = None,
    config: ConfigFiles = None,
    optimizer: Annotated[str | None, typer.Option(help="Which of metatrain.optimizers, with --config.")] = None,
    out: OutFolder = None,
    data_dir: DataDir = None,
    device: Device = "auto",
) -> None:
    """Fit a learned optimizer to trainings of a task; go on where a killed fit stopped (safetensors)."""
    job = select.l2o_job(spec, config, optimizer)
    folder = job.out(out, job.layout.l2o(job.unit.name))
    from nino.l2o import fit_l2o
    from nino.tasks import load_task

    task = load_task(job.unit.task, job.data_dir(data_dir), device=device_of(device))
    fit_l2o(job.unit.l2o, task, folder)
