"""Table 1: what was trained, how, and the target that was fixed beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nino.report.published import published
from nino.report.runs import Runs
from nino.report.table import EMPTY, Table, number, text_frame
from nino.specs import RecipeSpec, TaskSpec

METRIC_UNITS = {"accuracy": "%", "perplexity": ""}
SPLITS = ("train", "validation", "test")


def table1(runs: Runs) -> Table:
    """The tasks: data, model, size, recipe and target, with the published target beside ours."""
    rows, text = [], []
    for task in runs.spec.tasks:
        source = published("targets", task.id)
        sizes = runs.frame[runs.frame.task == task.id].parameters.dropna().unique()
        parameters = float(sizes[0]) if len(sizes) else np.nan
        recipe, target = task.recipe, task.target
        record = runs.data.get(task.id)
        examples = [record["examples"].get(part) for part in SPLITS] if record else [None] * len(SPLITS)
        trained_on = task.id in runs.spec.trained_on
        rows.append(
            {
                "task": task.id,
                "data": task.data.name,
                **{f"{part}_examples": count for part, count in zip(SPLITS, examples, strict=True)},
                "data_checksum": record["checksum"] if record else None,
                "model": task.model.name,
                "model_options": options_text(dict(task.model.options)),
                "parameters": parameters,
                **recipe.to_dict(),
                "metric": target.metric,
                "target": target.value,
                "published_target": source.value if source else np.nan,
                "meta_training": trained_on,
            }
        )
        text.append(
            {
                "Task": task.id,
                "Data": task.data.name,
                "Examples (train / val. / test)": " / ".join(f"{n:,}" for n in examples) if record else EMPTY,
                "Model": f"{task.model.name} ({rows[-1]['model_options']})" if task.model.options else task.model.name,
                "Parameters": f"{int(parameters):,}" if np.isfinite(parameters) else EMPTY,
                "Recipe": recipe_text(recipe),
                "Steps": f"{recipe.steps:,}",
                "Target": target_text(task),
                "Published target": number(source.value, 1) if source else EMPTY,
                "Meta-training": "yes" if trained_on else "no",
            }
        )
    return Table(
        name="table1",
        title="Table 1: tasks",
        data=pd.DataFrame(rows),
        text=text_frame(text, optional=["Published target", "Examples (train / val. / test)"]),
        notes=(
            "Examples: images, or blocks of tokens. Meta-training: whether a method's nowcaster, of this run or "
            "published, was fitted to trajectories of the task; the others are new to them.",
            "The target is fixed beforehand; a run reaches it at the first evaluation that meets it.",
        ),
    )


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


def target_text(task: TaskSpec) -> str:
    """A task's target: where it is checked, the metric, its direction and value."""
    target = task.target
    bound = "≥" if target.higher_is_better else "≤"
    return f"{target.split} {target.metric} {bound} {target.value:g} {METRIC_UNITS.get(target.metric, '')}".strip()
