"""The command that trains tasks with methods and measures when they meet their targets."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nino.cli import select
from nino.cli.options import ConfigFiles, DataDir, Device, OutFolder, TaskName, device_of
from nino.config.errors import ConfigError
from nino.specs.values import MOST_SEED

if TYPE_CHECKING:
    from nino.evaluate.job import Job as Run
    from nino.specs import EvaluationUnit
    from nino.tasks import Task


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
        from nino.evaluate.job import Job
        from nino.tasks import load_task

        if loaded is None or loaded.spec != unit.task:
            loaded = load_task(unit.task, job.data_dir(data_dir), device=asked)
        path = _file(job, files)
        runs = [Job(loaded, unit.method, each, unit.schedule, folder, path) for each, folder in left.items()]
        _make(runs, members, attempt if attempts is not None else None)


def _make(runs: list[Run], members: int | None, attempt: int | None) -> None:
    """Make the runs of a method, each with a note while it is under way if attempts are counted."""
    from nino.evaluate.attempts import noted
    from nino.evaluate.run import evaluate_runs

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
    from nino.evaluate.methods import method_nowcaster

    method_nowcaster(job.unit.method, 0, job.unit.schedule, _file(job, given))
