"""Numbers of a fit that must go with those of the trajectories that it is fitted to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nino.specs import MetatrainSpec
from nino.specs.values import MOST_SEED

Values = Mapping[str, Any]


def fits(config: Values) -> Iterator[str]:
    """Windows, models and shards that a task's trajectories do not have."""
    for name, entry in config["metatrain"]["nowcasters"].items():
        fit = fit_of(config, name)
        for task in entry.get("tasks", config["metatrain"]["tasks"]):
            yield from _fit_to_task(config, f"metatrain.nowcasters.{name}", fit, task)
    for task, entry in config["trajectories"].items():
        key, each, models = f"trajectories.{task}", entry["models_per_shard"], entry["models"]
        if each > models:
            yield f"{key}.models_per_shard (={each}) must be at most {key}.models (={models})"
        if (first := entry.get("first_seed", 0)) + models > MOST_SEED + 1:
            yield f"{key}.first_seed (={first}) and {models} models need seeds above {MOST_SEED}, the largest"


def _fit_to_task(config: Values, key: str, fit: MetatrainSpec, task: str) -> Iterator[str]:
    entry = config["trajectories"][task]
    every, models = entry["state_every"], entry["models"]
    steps = entry.get("steps", config["tasks"][task]["recipe"]["steps"])
    for stride in fit.strides:
        if stride % every:
            yield (
                f"metatrain.recipe.window_stride (={stride}, {key}) must be a multiple of "
                f"trajectories.{task}.state_every (={every})"
            )
    reach = (fit.context + fit.windows_per_trajectory - 1) * max(fit.strides)
    if reach > steps:
        yield (
            f"metatrain.recipe.window_stride (={max(fit.strides)}, {key}): {fit.windows_per_trajectory} windows of "
            f"{fit.context} states and a target reach over {reach} steps, but networks of {task} are trained {steps}"
        )
    if fit.validation_models >= models:
        yield (
            f"metatrain.recipe.validation_models (={fit.validation_models}, {key}) must be less than "
            f"trajectories.{task}.models (={models}): the rest is trained on"
        )
    elif fit.models is not None and fit.models > models - fit.validation_models:
        yield (
            f"{key}.models (={fit.models}) networks of each task to fit to, but trajectories.{task}.models (={models}) "
            f"less validation_models (={fit.validation_models}) are {models - fit.validation_models}"
        )


def fit_of(config: Values, name: str) -> MetatrainSpec:
    """How a nowcaster of ``metatrain.nowcasters`` is fitted."""
    return fit_spec(config["metatrain"]["recipe"], config["metatrain"]["nowcasters"][name])


def fit_spec(recipe: Values, entry: Values) -> MetatrainSpec:
    """How one entry of ``metatrain.nowcasters`` is fitted: the recipe, with what the entry says laid over it."""
    return MetatrainSpec.from_dict({**recipe, **{key: value for key, value in entry.items() if key != "tasks"}})
