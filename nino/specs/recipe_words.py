"""Recipes in words, as tables, captions and plans say them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nino.specs.methods import MethodSpec
from nino.specs.recipe import AveragingSpec, LearningRateSpec, RecipeSpec, RowRecipe


def options_text(options: Mapping[str, Any]) -> str:
    """Options in a line, sorted: files that they are read from do not keep their order.

    >>> options_text({"channels": [16, 32, 32], "bias": True})
    'bias True, channels 16-32-32'
    """
    return ", ".join(
        f"{name} {'-'.join(map(str, value)) if isinstance(value, list | tuple) else value}"
        for name, value in sorted(options.items())
    )


def recipe_text(recipe: RecipeSpec) -> str:
    """A recipe in a line.

    >>> recipe_text(RecipeSpec("adam", 6e-3, 10_000, 128))
    'adam, lr 0.006, wd 0, batch 128'
    >>> recipe_text(RecipeSpec("sgd", 0.1, 100, 8, schedule=LearningRateSpec("cosine", warmup=10)))
    'sgd, lr 0.1, wd 0, batch 8, 10 steps of warm-up, cosine decay to 0'
    """
    head = f"{recipe.optimizer}, lr {recipe.lr:g}, wd {recipe.weight_decay:g}, batch {recipe.batch_size}"
    return ", ".join([head, *_further(recipe)])


def row_text(recipe: RowRecipe) -> str:
    """What a row trains with in place of its task's recipe, in a line.

    >>> row_text(RowRecipe(lr=0.02, averaging=AveragingSpec("lawa", window=5, every=100)))
    'lr 0.02, mean of the last 5 states, 100 steps apart'
    """
    parts = [] if recipe.optimizer is None else [recipe.optimizer]
    parts += [] if recipe.lr is None else [f"lr {recipe.lr:g}"]
    parts += [] if recipe.weight_decay is None else [f"wd {recipe.weight_decay:g}"]
    return ", ".join([*parts, *_further(recipe)])


def recipe_sentences(methods: Sequence[MethodSpec], tasks: Sequence[str]) -> tuple[str, ...]:
    """A sentence on the rows whose recipe is not their task's; none where there are no such rows.

    Args:
        methods: the rows.
        tasks: ids of the tasks that it is about.

    >>> from nino.specs.recipe import MethodRecipe
    >>> recipe_sentences([MethodSpec("tuned", "none", recipe=MethodRecipe(lr=0.02))], ["a", "b"])
    ("In place of the task's recipe: tuned: lr 0.02.",)
    """
    said = [(method.label or method.name, _by_task(method, tasks)) for method in methods if method.recipe is not None]
    rows = [f"{label}: {text}" for label, text in said if text]
    return (f"In place of the task's recipe: {'; '.join(rows)}.",) if rows else ()


def _by_task(method: MethodSpec, tasks: Sequence[str]) -> str:
    """What a row says on some tasks: once where it is the same on all of them."""
    assert method.recipe is not None
    texts: dict[str, list[str]] = {}
    for task in tasks:
        texts.setdefault(row_text(method.recipe.on(task)), []).append(task)
    if len(texts) == 1:
        return next(iter(texts))
    return ", ".join(f"on {' and '.join(names)} {text}" for text, names in texts.items() if text)


def _further(recipe: RecipeSpec | RowRecipe) -> list[str]:
    parts = [options_text(recipe.options)] if recipe.options else []
    if (around := recipe.around) is not None:
        parts.append(f"in {around.optimizer}" + (f" ({options_text(around.options)})" if around.options else ""))
    parts += [] if recipe.schedule is None else [_schedule_text(recipe.schedule)]
    return parts + ([] if recipe.averaging is None else [_averaging_text(recipe.averaging)])


def _schedule_text(schedule: LearningRateSpec) -> str:
    parts = [f"{schedule.warmup} steps of warm-up"] if schedule.warmup else []
    constant = schedule.kind == "constant"
    return ", ".join([*parts, "constant rate" if constant else f"{schedule.kind} decay to {schedule.final:g}"])


def _averaging_text(averaging: AveragingSpec) -> str:
    if averaging.kind == "none":
        return "no averaging"
    apart = f", {averaging.every} steps apart" if averaging.every > 1 else ""
    if averaging.kind == "ema":
        return f"moving average of the weights, decay {averaging.decay:g}{apart}"
    return f"mean of the last {averaging.window} states{apart}"
