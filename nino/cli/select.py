"""Which job a command is to do: from the job's spec file, or from a config and names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from nino.config.errors import ConfigError
from nino.config.experiment import Experiment
from nino.config.layout import Layout
from nino.config.units import read_unit
from nino.specs import (
    EvaluationUnit,
    L2OUnit,
    MetatrainUnit,
    ReportSpec,
    Spec,
    TaskSpec,
    TrajectoryUnit,
    suggest,
)

T = TypeVar("T", bound=Spec)


@dataclass(frozen=True)
class Job(Generic[T]):
    """What to do, and what is known of the run that it belongs to.

    Args:
        unit: what the job is told.
        experiment: the whole run; None where a spec file was given, which says nothing of it.
    """

    unit: T
    experiment: Experiment | None = None

    def data_dir(self, given: Path | None) -> Path | None:
        """Where data sets are: as given, else as configured, else None for the user's cache."""
        return given or (self.experiment.data_dir if self.experiment else None)

    def out(self, given: Path | None, default: str) -> Path:
        """Where to write: as given, else where the run keeps it.

        Args:
            given: the ``--out`` of the command.
            default: name of the ``Layout`` property, or a path made by one.

        Raises:
            ConfigError: without either.
        """
        if given is None and self.experiment is None:
            raise ConfigError(["--out: missing; with a spec file it says where to write"])
        return given or Path(default)

    @property
    def layout(self) -> Layout:
        """Paths of the run; of a run without a name where only a spec file is known."""
        return Layout(self.experiment.run if self.experiment else "-")


def experiment(config: Sequence[Path] | None, files: bool = True) -> Experiment:
    """The run that ``config.yaml`` with these overlays describes.

    Args:
        config: the overlays.
        files: whether the files that it reads must be there; what reads results alone does without them.
    """
    from nino.config.file_checks import require_files
    from nino.config.load import load
    from nino.config.resolve import resolve

    run = resolve(load(config or ()), config or ())
    if files:
        require_files(run)
    return run


def task_job(spec: Path | None, config: Sequence[Path] | None, task: str | None) -> Job[TaskSpec]:
    """A task of the catalogue."""
    return _job(spec, config, TaskSpec, "--task", task, lambda run: run.tasks)


def trajectory_job(spec: Path | None, config: Sequence[Path] | None, task: str | None) -> Job[TrajectoryUnit]:
    """Training a task's networks for meta-training."""

    def units(run: Experiment) -> dict[str, TrajectoryUnit]:
        return {name: TrajectoryUnit(run.tasks[name], entry) for name, entry in run.trajectories.items()}

    return _job(spec, config, TrajectoryUnit, "--task", task, units)


def metatrain_job(spec: Path | None, config: Sequence[Path] | None, nowcaster: str | None) -> Job[MetatrainUnit]:
    """Fitting a nowcaster."""
    return _job(spec, config, MetatrainUnit, "--nowcaster", nowcaster, lambda run: run.nowcasters)


def l2o_job(spec: Path | None, config: Sequence[Path] | None, optimizer: str | None) -> Job[L2OUnit]:
    """Fitting a learned optimizer."""
    return _job(spec, config, L2OUnit, "--optimizer", optimizer, lambda run: run.optimizers)


def evaluation_jobs(
    specs: Sequence[Path] | None, config: Sequence[Path] | None, task: str | None, methods: Sequence[str] | None
) -> list[Job[EvaluationUnit]]:
    """Training a task with each of several methods."""
    named = {"--task": task, "--method": ", ".join(methods) if methods else None}
    if from_files := [_from_file(spec, config, EvaluationUnit, named) for spec in specs or ()]:
        return [job for job in from_files if job is not None]
    run = experiment(config)
    chosen = [run.methods[_named("--method", method, run.methods)] for method in methods or (None,)]
    name = _named("--task", task, run.tasks)
    for method in chosen:
        if name not in (planned := run.report.only.get(method.name, (name,))):
            raise ConfigError([f"--task (={name}): {method.name} is run on {', '.join(planned)} only (its `tasks`)"])
    return [Job(EvaluationUnit(run.tasks[name], method.on(name), run.schedule), run) for method in chosen]


def report_job(spec: Path | None, config: Sequence[Path] | None) -> Job[ReportSpec]:
    """Tables and figures of a run."""
    if from_file := _from_file(spec, config, ReportSpec, {}):
        return from_file
    run = experiment(config, files=False)
    return Job(run.report, run)


def _job(
    spec: Path | None,
    config: Sequence[Path] | None,
    kind: type[T],
    option: str,
    name: str | None,
    units: Callable[[Experiment], Mapping[str, T]],
) -> Job[T]:
    """The job of a spec file, or that of the run's ``units`` which ``option`` names."""
    if from_file := _from_file(spec, config, kind, {option: name}):
        return from_file
    run = experiment(config)
    by_name = units(run)
    return Job(by_name[_named(option, name, by_name)], run)


def _from_file(
    spec: Path | None, config: Sequence[Path] | None, kind: type[T], names: dict[str, str | None]
) -> Job[T] | None:
    if spec is None:
        return None
    if config:
        raise ConfigError([f"SPEC (={spec}) and --config (={config[0]}): give one of them"])
    for option, value in names.items():
        if value is not None:
            raise ConfigError([f"{option} (={value}): the spec file says it already; leave it out"])
    return Job(read_unit(spec, kind))


def _named(option: str, name: str | None, names: Iterable[str]) -> str:
    names = list(names)
    if name is None:
        raise ConfigError([f"{option}: missing; allowed: {', '.join(sorted(names))}"])
    if name not in names:
        raise ConfigError([f"{option} (={name}): not in the config; {suggest(name, names)}"])
    return name
