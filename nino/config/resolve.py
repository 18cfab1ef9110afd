"""From a merged mapping to an experiment, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nino.config.checks import cross_checks, left_out, not_finite, row_checks
from nino.config.errors import ConfigError
from nino.config.experiment import Experiment
from nino.config.fit_checks import fit_spec
from nino.config.load import at_home, overlays_of, without_nulls
from nino.specs import (
    Config,
    L2OSpec,
    L2OUnit,
    MetatrainUnit,
    MethodSpec,
    ReportSpec,
    ScheduleSpec,
    TaskSpec,
    TrajectorySpec,
    problems,
)
from nino.specs.methods import FITTED_TO
from nino.specs.values import CONFIG


def resolve(config: Mapping[str, Any], overlays: Sequence[Path] | None = None) -> Experiment:
    """Check a merged config, spell out ``~`` in paths, and fill in its defaults.

    Args:
        config: what ``load`` returned, or Snakemake's own ``config``.
        overlays: the files that were laid over ``config.yaml``, for the commands that the report prints; None where
            they are not known.

    Returns:
        The experiment.

    Raises:
        ConfigError: for a key, value or name that is not allowed, and for values that contradict each other; lists
            every problem with its key and what is allowed.
    """
    given = without_nulls(config)
    if wrong := problems(Config, given, CONFIG) or [*not_finite(given)] or row_checks(config):
        raise ConfigError(wrong)
    if wrong := [*left_out(given, overlays or ())]:
        raise ConfigError(wrong)
    config = _of_rows(at_home(given))
    if wrong := cross_checks(config):
        raise ConfigError(wrong)
    fit = config["metatrain"]
    evaluate = config["evaluate"]
    tasks = {name: TaskSpec.from_dict({"id": name, **task}) for name, task in config["tasks"].items()}
    # Which tasks a method is run on belongs to the plan of the report: the runs themselves are the same without it.
    only = {name: tuple(method["tasks"]) for name, method in evaluate["methods"].items() if "tasks" in method}
    methods = {
        name: MethodSpec.from_dict({"name": name, **{key: value for key, value in method.items() if key != "tasks"}})
        for name, method in evaluate["methods"].items()
    }
    nowcasters = {
        name: MetatrainUnit(name, tuple(entry.get("tasks", fit["tasks"])), fit_spec(fit["recipe"], entry))
        for name, entry in fit["nowcasters"].items()
    }
    optimizers = {
        name: L2OUnit(name, tasks[entry["task"]], L2OSpec(**{k: v for k, v in entry.items() if k != "task"}))
        for name, entry in fit.get("optimizers", {}).items()
    }
    schedule = ScheduleSpec.from_dict(evaluate["schedule"])
    seeds = tuple(evaluate["seeds"])
    trained_on = [task for method in methods.values() for task in _fitted_to(method, nowcasters)]
    return Experiment(
        run=config["run"],
        data_dir=Path(config["data_dir"]) if "data_dir" in config else None,
        tasks=tasks,
        trajectories={name: TrajectorySpec.from_dict(entry) for name, entry in config["trajectories"].items()},
        nowcasters=nowcasters,
        evaluated=tuple(evaluate["tasks"]),
        seeds=seeds,
        schedule=schedule,
        methods=methods,
        report=ReportSpec(
            run=config["run"],
            tasks=tuple(tasks[name] for name in evaluate["tasks"]),
            methods=tuple(methods.values()),
            seeds=seeds,
            schedule=schedule,
            trained_on=tuple(dict.fromkeys(trained_on)),
            only=only,
            overlays=None if overlays is None else overlays_of(given, overlays),
            **{key: value for key, value in config["report"].items() if key != "studies"},
        ),
        config=config,
        optimizers=optimizers,
        seeds_per_job=evaluate.get("seeds_per_job", 1),
        methods_per_job=evaluate.get("methods_per_job", 1),
        members_per_job=evaluate.get("members_per_job"),
        studies=tuple(config["report"].get("studies", ())),
    )


def _of_rows(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config with the methods that ``evaluate.rows`` lists, in its order, as if it held no others."""
    evaluate = config["evaluate"]
    if "rows" not in evaluate:
        return config
    methods = {name: evaluate["methods"][name] for name in evaluate["rows"] if name in evaluate["methods"]}
    others = {key: value for key, value in evaluate.items() if key != "rows"}
    return {**config, "evaluate": {**others, "methods": methods}}


def _fitted_to(method: MethodSpec, nowcasters: Mapping[str, MetatrainUnit]) -> tuple[str, ...]:
    """The tasks whose trajectories a method's nowcaster was fitted to, by this run or before it was published."""
    if method.nowcaster == "metatrained" and method.source:
        return nowcasters[method.source].tasks
    weights = (method.path or "").removesuffix(".pt") if method.nowcaster == "checkpoint" else ""
    return FITTED_TO.get(weights, ())
