"""What one job is told: a small file of its own, so that a job is redone when its own part of the config changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from nino.config.errors import ConfigError
from nino.config.experiment import Experiment
from nino.config.layout import Layout
from nino.files import write_text
from nino.specs import EvaluationUnit, Spec, TrajectoryUnit
from nino.specs.studies import study_specs

T = TypeVar("T", bound=Spec)


def units(experiment: Experiment) -> Iterator[tuple[str, Spec]]:
    """Path and content of the spec file of every job of a run."""
    layout = Layout(experiment.run)
    for name in experiment.used:
        yield layout.task_spec(name), experiment.tasks[name]
    for name in experiment.collected:
        yield layout.trajectory_spec(name), TrajectoryUnit(experiment.tasks[name], experiment.trajectories[name])
    for name in experiment.fitted:
        yield layout.metatrain_spec(name), experiment.nowcasters[name]
    for name in experiment.learned:
        yield layout.l2o_spec(name), experiment.optimizers[name]
    for task in experiment.evaluated:
        for name, method in experiment.methods.items():
            if experiment.report.plans(task, name):
                yield (
                    layout.evaluation_spec(task, name),
                    EvaluationUnit(experiment.tasks[task], method.on(task), experiment.schedule),
                )
    yield layout.report_spec, experiment.report
    yield from ((layout.study_spec(name), spec) for name, spec in study_specs(experiment.config))


def write_units(experiment: Experiment, folder: Path = Path()) -> list[Path]:
    """Write the spec file of every job, and the config as resolved; leave those alone whose content is the same.

    Args:
        experiment: the run.
        folder: what the run's paths are relative to; default the working directory.

    Returns:
        The files written; the others keep their times, so that nothing is redone because of them.
    """
    contents: dict[str, Any] = {name: unit.to_dict() for name, unit in units(experiment)}
    contents[Layout(experiment.run).config] = experiment.config
    written = []
    for name, content in contents.items():
        path, text = folder / name, json.dumps(content, indent=2) + "\n"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            written.append(path)
    return written


def read_unit(path: Path, kind: type[T]) -> T:
    """Read a spec file.

    Args:
        path: what ``write_units`` wrote.
        kind: the dataclass it should hold.

    Raises:
        ConfigError: where the file is missing, broken, or of another kind.
    """
    try:
        return kind.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such spec file; Snakemake writes them, or use --config instead"]) from None
    except ValueError as error:  # no JSON, or not what a spec may hold
        raise ConfigError([f"{path}: not a resolved {kind.__name__} ({error}); let Snakemake write it anew"]) from error
