"""``nino check``: hold what comes from outside this package to the contract of its kind.

A kind has its contract in a file of its own, and a function here that applies it; ``CONTRACTS`` lists these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from nino.cli import select
from nino.cli.options import ConfigFiles, DataDir
from nino.config.errors import ConfigError
from nino.specs import (
    Config,
    DataSpec,
    EvaluationSpec,
    ModelSpec,
    RecipeSpec,
    TargetSpec,
    TaskSpec,
)
from nino.specs.data_options import USER_DATA
from nino.specs.outside import uses
from nino.specs.references import KINDS
from nino.specs.targets import measurable

if TYPE_CHECKING:
    from nino.tasks import Data, Task


@dataclass(frozen=True)
class Subject:
    """What is to be checked.

    Args:
        text: its name, as a config has it.
        kind: a key of ``CONTRACTS``.
        options: its arguments.
        data: what it is tried on, where its kind needs data.
        target: of the task that names it; None where no config does.
        data_dir: where data sets are.
    """

    text: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    data: DataSpec = field(default_factory=lambda: DataSpec("digits"))
    target: TargetSpec | None = None
    data_dir: Path | None = None

    def load_data(self) -> Data:
        """The data that it is tried on."""
        from nino.tasks import default_data_dir
        from nino.tasks.registry import load_data

        return load_data(self.data, self.data_dir or default_data_dir())

    def task(self, model: ModelSpec) -> Task:
        """A task that trains a model on the data; its recipe, target and evaluation are placeholders."""
        from nino.tasks import Task

        data = self.load_data()
        target = TargetSpec(next(iter(measurable(data.kind, data.loss))), 1.0)
        spec = TaskSpec("check", self.data, model, RecipeSpec("adam", 1e-3, 1, 1), target, EvaluationSpec(1, 1))
        return Task(spec, data)


def check(
    name: Annotated[
        str | None,
        typer.Argument(
            help="FILE.py:NAME, MODULE:NAME, a known name, a nowcaster's file of weights, or an entry `data` of a task "
            "(JSON); left out: everything from outside this package, and all data of your own, that --config names."
        ),
    ] = None,
    kind: Annotated[str, typer.Option(help="What it is: " + ", ".join(KINDS) + ".")] = "nowcaster",
    options: Annotated[str, typer.Option(help="Its arguments (JSON).")] = "{}",
    data: Annotated[
        str, typer.Option(help="Data that a model or metric is tried on: a name, or an entry `data` of a task (JSON).")
    ] = "digits",
    better: Annotated[str, typer.Option(help="Which values of a metric are better: higher or lower.")] = "higher",
    config: ConfigFiles = None,
    data_dir: DataDir = None,
) -> None:
    """Hold a nowcaster, model, metric or another part from outside to what every one must do; exit with 1 if it fails.

    It is run: check only files that you trust.
    """
    if (name is None) == (not config):
        raise ConfigError(["NAME: give either it or --config, which names what to check"])
    if name is not None:
        entry = {"name": name, "options": _mapping("--options", options)}
        if kind == "data" and name.startswith("{"):
            entry = _mapping("NAME", name)
        other = _mapping("--data", data) if data.startswith("{") else {"name": data}
        given = DataSpec.from_dict(entry if kind == "data" else other)
        target = TargetSpec.from_dict({"metric": name, "value": 0.0, "better": better}) if kind == "metric" else None
        subjects = {name: Subject(name, _with_contract(kind), _mapping("--options", options), given, target, data_dir)}
    else:
        subjects = _of_config(config, data_dir)
    broken = 0
    for title, subject in subjects.items():
        if subject.kind not in CONTRACTS:
            continue
        sentences = CONTRACTS[subject.kind](subject)
        for sentence in sentences:
            typer.echo(sentence)
        article = "" if subject.kind == "data" else "an " if subject.kind[0] in "aeiou" else "a "
        end = f"{len(sentences)} violations" if sentences else f"keeps the contract of {article}{subject.kind}"
        typer.echo(f"{title}: {end}")
        broken += len(sentences)
    if broken:
        raise typer.Exit(1)


def _of_config(config: list[Path] | None, data_dir: Path | None) -> dict[str, Subject]:
    """Everything from outside that a config names, with the data of its task, and the user's own data; by key."""
    run = select.experiment(config)
    subjects = {}
    for use in uses(Config, run.config):
        subject = Subject(use.text, use.kind, use.options, data_dir=data_dir or run.data_dir)
        section, name, *_ = use.key.split(".")
        if section == "tasks":
            task = run.tasks[name]
            subject = replace(subject, data=task.data, target=task.target)
        subjects[f"{use.key} (={use.text})"] = subject
    for name in run.used:
        data = run.tasks[name].data
        if data.name in USER_DATA:
            subjects[f"tasks.{name}.data (={data.name})"] = Subject(
                data.name, "data", data=data, data_dir=data_dir or run.data_dir
            )
    if not subjects:
        raise ConfigError(["--config: it names nothing from outside this package, and no data of your own"])
    return subjects


def _with_contract(kind: str) -> str:
    if kind not in CONTRACTS:
        raise ConfigError([f"--kind (={kind}) must be one of {', '.join(CONTRACTS)}"])
    return kind


def _mapping(option: str, text: str) -> dict[str, Any]:
    """A JSON mapping."""
    try:
        values = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ConfigError([f"{option} (={text}) must be a JSON mapping, as '{{\"decay\": 0.5}}': {error}"]) from error
    if not isinstance(values, dict):
        raise ConfigError([f"{option} (={text}) must be a JSON mapping, as '{{\"decay\": 0.5}}'"])
    return values


def _no_number(name: str) -> NoReturn:
    """Refuse NaN and infinity, which JSON does not have and Python's reader takes."""
    raise json.JSONDecodeError(f"{name} is no finite number", name, 0)


def _nowcaster(subject: Subject) -> list[str]:
    from nino.evaluate.user_class import build_user_nowcaster
    from nino.nowcasters import NOWCASTERS, Nowcaster, load_nowcaster
    from nino.nowcasters.contract import violations
    from nino.specs import Reference

    def make() -> Nowcaster:
        if (ours := NOWCASTERS.get(subject.text)) is not None:
            return build_user_nowcaster(f"{ours.__module__}:{ours.__name__}", 0, **subject.options)
        if Reference.find(subject.text, "nowcaster"):
            return build_user_nowcaster(subject.text, 0, **subject.options)
        if subject.options:
            raise ConfigError(["--options: a file of weights takes none; leave them out"])
        return load_nowcaster(subject.text)

    make()  # what cannot be built is an error, not a violation
    return violations(make)


def _data(subject: Subject) -> list[str]:
    from nino.tasks.data_contract import shared_examples, violations

    sentences = violations(subject.load_data)
    for note in [] if sentences else shared_examples(subject.load_data()):
        typer.echo(note)
    return sentences


def _model(subject: Subject) -> list[str]:
    from nino.tasks.model_contract import described, violations

    task = subject.task(ModelSpec(subject.text, subject.options))
    sentences = violations(task)
    if not any(sentence.startswith("graph") for sentence in sentences):
        typer.echo(described(task))
    return sentences


def _metric(subject: Subject) -> list[str]:
    from nino.tasks.metric_contract import violations
    from nino.tasks.metrics import metric

    assert subject.target is not None  # of the task that names it, or as the command says
    return violations(metric(subject.target), subject.load_data(), subject.target.higher_is_better)


def _optimizer(subject: Subject) -> list[str]:
    from torch import nn
    from torch.optim import Optimizer

    from nino.optim.contract import violations
    from nino.specs.recipe import AroundSpec
    from nino.tasks import build_optimizer

    options = {key: value for key, value in subject.options.items() if key != "lr"}
    recipe = RecipeSpec(subject.text, subject.options.get("lr", 1e-2), 100, 16, options=options)
    if subject.kind == "wrapper":
        recipe = RecipeSpec("adam", 1e-2, 100, 16, around=AroundSpec(subject.text, options))

    def make(model: nn.Module) -> Optimizer:
        return build_optimizer(recipe, model)

    make(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))  # what cannot be built is an error, not a violation
    return violations(make)


CONTRACTS: dict[str, Callable[[Subject], list[str]]] = {
    "data": _data,
    "metric": _metric,
    "model": _model,
    "nowcaster": _nowcaster,
    "optimizer": _optimizer,
    "wrapper": _optimizer,
}
