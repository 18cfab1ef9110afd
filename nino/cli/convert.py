"""``nino convert``: released trajectories into our files."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from nino.cli import select
from nino.cli.options import ConfigFiles, DataDir, OutFile, SpecFile, TaskName


def convert(
    source: Annotated[Path, typer.Argument(help="Array (models, states, parameters) of float16: raw, or .npy.")],
    spec: SpecFile = None,
    config: ConfigFiles = None,
    task: TaskName = None,
    metrics: Annotated[
        Path | None, typer.Option(help="Its metrics (.npz): train_loss, validation, test, each (models, states).")
    ] = None,
    models: Annotated[
        int | None, typer.Option(min=1, help="Networks that it holds; default those of the config's trajectories.")
    ] = None,
    state_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between its states; default those of the config's trajectories.")
    ] = None,
    out: OutFile = None,
    data_dir: DataDir = None,
) -> None:
    """Write a released memory map of parameter states as shards and a data set (HDF5); go on where it was killed."""
    job = select.trajectory_job(spec, config, task)
    unit = job.unit
    path = job.out(out, job.layout.dataset(unit.task.id))
    from nino.tasks import data_sizes, default_data_dir
    from nino.tasks.sizes import parameter_shapes
    from nino.trajectories.convert import convert_states, open_source

    sizes = data_sizes(unit.task, job.data_dir(data_dir) or default_data_dir(), Path(job.layout.data(unit.task.id)))
    shapes = parameter_shapes(unit.task, sizes)
    asked = replace(
        unit.trajectories,
        models=models or unit.trajectories.models,
        state_every=state_every or unit.trajectories.state_every,
    )
    parameters = sum(math.prod(shape) for _, shape in shapes)
    convert_states(open_source(source, asked.models, parameters, metrics), unit.task, asked, shapes, path)
