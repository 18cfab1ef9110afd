"""From data to evaluated runs: a command a stage."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nino.cli import select
from nino.cli.options import ConfigFiles, DataDir, Device, OutFile, OutFolder, SpecFile, TaskName
from nino.config.errors import ConfigError
from nino.specs.values import MOST_SEED

if TYPE_CHECKING:
    from nino.evaluate import Job as Run
    from nino.specs import EvaluationUnit
    from nino.tasks import Task


def add_to(app: typer.Typer) -> None:
    """Register this module's commands."""
    for command in (data, collect, join, datasheet, metatrain, card, l2o, evaluate):
        app.command()(command)


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
    from nino.trajectories import collect_shard, shard_seeds

    shard_seeds(job.unit.trajectories, shard)  # refuses a shard that there is not, before data are loaded
    loaded = load_task(job.unit.task, job.data_dir(data_dir), device=device_of(device))
    collect_shard(loaded, job.unit.trajectories, shard, path)


def join(
    shards: Annotated[list[Path] | None, typer.Argument(help="The shards; or give --config and --task.")] = None,
    config: ConfigFiles = None,
    task: TaskName = None,
    models: Annotated[
        int | None, typer.Option(min=1, help="Join the first shards of a collection, of so many networks.")
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
    from nino.trajectories import datasheet as describe

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


def evaluate(
    seed: Annotated[
        list[int],
        typer.Option(
            help="Seed of the run; the same for every method of a comparison. May be repeated.", min=0, max=MOST_SEED
        ),
    ],
    spec: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SPEC]...", help="Resolved spec file of each method; or give --config and names."),
    ] = None,
    config: ConfigFiles = None,
    task: TaskName = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Which of evaluate.methods, with --config. May be repeated.")
    ] = None,
    nowcaster: Annotated[
        list[str] | None,
        typer.Option(
            help="File of weights, for a method that reads one, METHOD=FILE for one of several; default those that "
            "the run fitted."
        ),
    ] = None,
    out: OutFolder = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    members: Annotated[
        int | None, typer.Option(help="Seeds trained at once; default 1 on a CPU, 8 on a GPU.", min=1)
    ] = None,
    attempt: Annotated[int, typer.Option(help="Which attempt at this run it is, from 1.", min=1)] = 1,
    attempts: Annotated[
        int | None,
        typer.Option(help="Attempts to make: where each was killed, the next one records that as the result.", min=1),
    ] = None,
) -> None:
    """Train a task with a method and measure when it meets its target; go on where a killed run stopped.

    Of several seeds, --members are trained at once, each with a folder seed=N in that of --out. Several methods are
    trained one after another; --out then holds a folder for each, METHOD/seed=N.
    """
    jobs = select.evaluation_jobs(spec, config, task, method)
    files = _weights([job.unit.method.name for job in jobs], nowcaster or [])
    asked = device_of(device)
    for job in jobs:
        _check_nowcaster(job, files)
    loaded: Task | None = None
    for job in jobs:
        unit, name = job.unit, job.unit.method.name
        place = None if out is None else out / name if len(jobs) > 1 else out
        left = _unfinished(job, seed, place, place == out and len(seed) == 1, attempt, attempts)
        if not left:
            continue
        from nino.evaluate import Job
        from nino.tasks import load_task

        if loaded is None or loaded.spec != unit.task:
            loaded = load_task(unit.task, job.data_dir(data_dir), device=asked)
        path = _file(job, files)
        runs = [Job(loaded, unit.method, each, unit.schedule, folder, path) for each, folder in left.items()]
        _make(runs, members, attempt if attempts is not None else None)


def _make(runs: list[Run], members: int | None, attempt: int | None) -> None:
    """Make the runs of a method, each with a note while it is under way if attempts are counted."""
    from nino.evaluate import evaluate_runs
    from nino.evaluate.attempts import noted

    with ExitStack() as notes:
        # A note is put away when its run ends: those that ended before the job was killed are not trained again.
        attempted = {run.folder: notes.enter_context(ExitStack()) for run in runs}
        if attempt is not None:
            for folder, note in attempted.items():
                note.enter_context(noted(folder, attempt))
        evaluate_runs(runs, members=members, ended=lambda folder: attempted[folder].close())


def _unfinished(
    job: select.Job[EvaluationUnit],
    seeds: list[int],
    out: Path | None,
    alone: bool,
    attempt: int,
    attempts: int | None,
) -> dict[int, Path]:
    """Seed -> folder of the runs to make, without those that were killed at every attempt: these get their result."""
    from nino.evaluate.attempts import give_up, killed

    unit, left = job.unit, {}
    for seed in seeds:
        given = out if out is None or alone else out / f"seed={seed}"
        folder = job.out(given, job.layout.evaluation(unit.task.id, unit.method.name, seed))
        if attempts is not None and (reason := killed(folder, attempt, attempts)):
            give_up(unit.task, unit.method, seed, unit.schedule, folder, reason)
        else:
            left[seed] = folder
    return left


def _weights(methods: list[str], given: list[str]) -> dict[str, Path]:
    """Method -> the file of its weights, as ``--nowcaster`` names it.

    Raises:
        ConfigError: for a file of a method that is not run.
    """
    if len(methods) == 1 and len(given) == 1:
        return {methods[0]: Path(given[0])}
    files = dict(text.partition("=")[::2] for text in given)
    if strange := [name for name in files if name not in methods]:
        raise ConfigError([f"--nowcaster (={strange[0]}): must be METHOD=FILE of one of {', '.join(methods)}"])
    return {name: Path(file) for name, file in files.items()}


def _file(job: select.Job[EvaluationUnit], given: dict[str, Path]) -> Path | None:
    """The file of weights that a method reads: as given, else what the run fitted; None for what its spec says."""
    name = job.unit.method.name
    fitted = job.experiment.weights(name) if job.experiment else ()
    return given.get(name, *map(Path, fitted))


def _check_nowcaster(job: select.Job[EvaluationUnit], given: dict[str, Path]) -> None:
    """Refuse a method whose nowcaster cannot be built, before any data are loaded."""
    from nino.evaluate.methods import build_nowcaster

    build_nowcaster(job.unit.method, 0, job.unit.schedule, _file(job, given))


def device_of(name: str) -> str:
    """What ``--device`` means here.

    Raises:
        ConfigError: for a device that is not there.
    """
    from nino.device import named

    try:
        return str(named(name))
    except ValueError as error:
        raise ConfigError([str(error).replace("`device`", "--device")]) from error
