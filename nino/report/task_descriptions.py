"""Table 1: what was trained, how, and the target that was fixed beforehand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nino.report.columns import TASK, Column, Row, fixed, lay_out, plain
from nino.report.formats import EMPTY
from nino.report.published import published
from nino.report.rendering import Table
from nino.report.runs import Runs
from nino.specs import RecipeSpec, TargetSpec, TaskSpec

SPLITS = ("train", "validation", "test")


def table1(runs: Runs) -> Table:
    """The tasks: data, model, size, recipe and target, with the published target beside ours."""
    recipes = {task.id: task.recipe for task in runs.spec.tasks}
    targets = {task.id: task.target for task in runs.spec.tasks}
    columns = (
        TASK,
        Column("Data", plain("data")),
        Column("Examples (train / val. / test)", _examples_text, optional=True),
        Column(
            "Model", lambda row: f"{row['model']} ({row['model_options']})" if row["model_options"] else row["model"]
        ),
        Column("Parameters", lambda row: f"{int(row['parameters']):,}" if np.isfinite(row["parameters"]) else EMPTY),
        Column("Recipe", lambda row: recipe_text(recipes[row["task"]])),
        Column("Steps", lambda row: f"{row['steps']:,}"),
        Column("Target", lambda row: target_text(targets[row["task"]])),
        Column("Published target", fixed("published_target", 1), optional=True),
        Column("Meta-training", lambda row: "yes" if row["meta_training"] else "no"),
    )
    return lay_out(
        "table1",
        "Table 1: tasks",
        columns,
        [_row(runs, task) for task in runs.spec.tasks],
        notes=(
            "Examples: images, or blocks of tokens. Meta-training: whether a method's nowcaster, of this run or "
            "published, was fitted to trajectories of the task; the others are new to them.",
            "The target is fixed beforehand; a run reaches it at the first evaluation that meets it.",
        ),
    )


def _row(runs: Runs, task: TaskSpec) -> dict[str, Any]:
    source = published("targets", task.id)
    sizes = runs.frame[runs.frame.task == task.id].parameters.dropna().unique()
    record = runs.data.get(task.id)
    return {
        "task": task.id,
        "data": task.data.name,
        **{f"{split}_examples": record["examples"].get(split) if record else None for split in SPLITS},
        "data_checksum": record["checksum"] if record else None,
        "model": task.model.name,
        "model_options": options_text(dict(task.model.options)),
        "parameters": float(sizes[0]) if len(sizes) else np.nan,
        **task.recipe.to_dict(),
        "metric": task.target.metric,
        "target": task.target.value,
        "published_target": source.value if source else np.nan,
        "meta_training": task.id in runs.spec.trained_on,
    }


def _examples_text(row: Row) -> str:
    counts = [row[f"{split}_examples"] for split in SPLITS]
    return EMPTY if row["data_checksum"] is None else " / ".join(f"{count:,}" for count in counts)


def options_text(options: dict[str, Any]) -> str:
    """A model's options in a line, sorted: files that they are read from do not keep their order.

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
    """
    return f"{recipe.optimizer}, lr {recipe.lr:g}, wd {recipe.weight_decay:g}, batch {recipe.batch_size}"


def metric_digits(target: TargetSpec) -> int:
    """Decimals that tables show of a metric: two, or as many more as three figures of the target need.

    >>> metric_digits(TargetSpec("accuracy", 85.0)), metric_digits(TargetSpec("mse", 0.0125))
    (2, 4)
    """
    return max(2, 2 - math.floor(math.log10(abs(target.value)))) if target.value else 2


def target_text(target: TargetSpec) -> str:
    """A target: where it is checked, the metric, its direction and value.

    >>> target_text(TargetSpec("accuracy", 85.0))
    'test accuracy ≥ 85 %'
    """
    bound = "≥" if target.higher_is_better else "≤"
    return f"{target.split} {target.title} {bound} {target.value:g} {target.unit}".strip()
