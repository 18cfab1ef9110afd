"""What of recipes must fit together: schedules and steps, averages and their numbers, rows and the tasks they train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nino.specs import MethodRecipe, RecipeSpec, Reference, problems, suggest
from nino.specs.recipe import OPTIMIZER_OPTIONS
from nino.specs.values import CONFIG

Values = Mapping[str, Any]
NEEDED = {"ema": "decay", "lawa": "window"}  # what each kind of average is told


def recipes(config: Values) -> Iterator[str]:
    """Recipes that cannot be trained with, of tasks and of methods that have one of their own."""
    for name, task in config["tasks"].items():
        yield from _recipe(f"tasks.{name}.recipe", RecipeSpec.from_dict(task["recipe"]))
    for name, method in config["evaluate"]["methods"].items():
        if "recipe" in method:
            yield from _of_method(config, f"evaluate.methods.{name}.recipe", method)


def _of_method(config: Values, key: str, method: Values) -> Iterator[str]:
    """What is wrong with a row's recipe on each of the tasks that it is run on."""
    if method["nowcaster"] == "l2o":
        yield f"{key}: a method with nowcaster 'l2o' takes every step by a learned optimizer; leave it out"
        return
    row = MethodRecipe.from_dict(method["recipe"])
    for task in row.tasks or ():
        if task not in config["tasks"]:
            yield f"{key}.tasks.{task}: no such task; {suggest(task, config['tasks'])}"
    for task in method.get("tasks", config["evaluate"]["tasks"]):
        recipe = row.over(RecipeSpec.from_dict(config["tasks"][task]["recipe"]), task)
        faults = [f"{key}.{fault} (on {task})" for fault in problems(RecipeSpec, recipe.to_dict(), CONFIG)]
        faults = faults or [*_recipe(key, recipe, f" of {task}")]
        if faults:
            yield from faults
            return  # most are wrong whatever the task


def _recipe(key: str, recipe: RecipeSpec, of: str = "") -> Iterator[str]:
    """What is wrong with a recipe as a whole."""
    schedule, averaging, options = recipe.schedule, recipe.averaging, recipe.options or {}
    for name in ("lr", "weight_decay"):
        if name in options:
            yield f"{key}.options.{name} (={options[name]}): {key}.{name} says it; leave it out here"
    if recipe.optimizer not in OPTIMIZER_OPTIONS and (reference := Reference.find(recipe.optimizer, "optimizer")):
        arguments = {
            **options,
            "lr": recipe.lr,
            **({"weight_decay": recipe.weight_decay} if recipe.weight_decay else {}),
        }
        faults = reference.problems(arguments, "optimizer", offered=())
        yield from (f"{key}.optimizer (={recipe.optimizer}): {each}" for each in faults)
    if schedule is not None and schedule.warmup >= recipe.steps:
        yield f"{key}.schedule.warmup (={schedule.warmup}) must be less than recipe.steps (={recipe.steps}{of})"
    if schedule is not None and schedule.kind == "constant" and schedule.final:
        yield f"{key}.schedule.final (={schedule.final:g}) is where a decay ends, and kind is 'constant': leave it out"
    if averaging is None:
        return
    for kind, needed in NEEDED.items():
        value = getattr(averaging, needed)
        if averaging.kind == kind and value is None:
            yield f"{key}.averaging.{needed}: missing; kind {kind!r} needs it"
        if averaging.kind != kind and value is not None:
            yield f"{key}.averaging.{needed} (={value}) goes with kind {kind!r} only; this one is {averaging.kind!r}"
    if averaging.every > recipe.steps:
        yield f"{key}.averaging.every (={averaging.every}) must be at most recipe.steps (={recipe.steps}{of})"
