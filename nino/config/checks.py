"""What the types of keys cannot say: names must be defined somewhere else, numbers must fit each other."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nino.config.data_checks import data_checks
from nino.config.fit_checks import fits
from nino.config.load import read
from nino.config.recipe_checks import recipes
from nino.config.schedule_checks import schedules
from nino.specs import Config, L2OSpec, OverheadSpec, suggest
from nino.specs.methods import APPROXIMATIONS, FITTED, NOWCASTERS
from nino.specs.model_options import LIBRARIES, misfits, unfit
from nino.specs.outside import uses
from nino.specs.studies import STUDY_TABLES
from nino.specs.targets import METRICS, told_of, unmeasured

Values = Mapping[str, Any]
TRANSFORMERS = ("gpt2", "llama", "vit")  # architectures of ours whose neurons are shared out to heads
NO_FOLDERS = ("convnet", "timm", "torchvision")  # models without transformers' save_pretrained
RULED_OUT = "accuracy"  # the metric of which `nino.evaluate.target.first_hit` knows what to leave out


def cross_checks(config: Values) -> list[str]:
    """Contradictions between the keys of a config, one sentence each.

    Args:
        config: a mapping that `nino.specs.Config` allows.

    Returns:
        Sentences that name the key, its value and what is allowed.
    """
    unknown = [*_names(config)]  # the other checks look these names up
    return unknown or [
        *_tasks(config),
        *schedules(config),
        *_seeds(config),
        *fits(config),
        *_studies(config),
        *recipes(config),
    ]


def row_checks(config: Values) -> list[str]:
    """Names in ``evaluate.rows`` that no method has, and a baseline that is not among them.

    Args:
        config: a mapping that `nino.specs.Config` allows, with its nulls: a listed method that a later overlay takes
            away with null is gone, not unknown.

    Returns:
        Sentences that name the key, its value and what is allowed.
    """
    rows, methods = config["evaluate"].get("rows"), config["evaluate"]["methods"]
    if rows is None:
        return []
    defined = [name for name, method in methods.items() if method is not None]
    problems = [
        f"evaluate.rows[{i}] (={name!r}): no such entry of evaluate.methods; {suggest(name, defined)}"
        for i, name in enumerate(rows)
        if name not in methods
    ]
    baseline = config["report"]["baseline"]
    if not problems and baseline in methods and baseline not in rows:
        problems = [f"evaluate.rows: every task is compared with report.baseline (={baseline!r}); list it"]
    return problems


def left_out(config: Values, overlays: Sequence[Path]) -> Iterator[str]:
    """Methods that an overlay sets although its own ``rows``, or those of an earlier overlay, leave them out.

    Rows may leave out the methods of earlier overlays: to choose among these is what rows are for.

    Args:
        config: what the overlays give.
        overlays: the files, in the order in which they were laid over the base.

    Yields:
        Sentences that name the method and the rows.
    """
    if (rows := config["evaluate"].get("rows")) is None:
        return
    files = [read(path).get("evaluate") or {} for path in overlays]
    last = max((i for i, said in enumerate(files) if said.get("rows")), default=len(files))
    for said in files[last:]:
        for name, method in (said.get("methods") or {}).items():
            if method is not None and name not in rows:
                yield (
                    f"evaluate.methods.{name}: not one of evaluate.rows (={', '.join(rows)}), so it would not be run; "
                    f"list it there, or leave it out here"
                )


def not_finite(values: Any, key: str = "") -> Iterator[str]:
    """NaN and infinity wherever they stand, also where a class of the user's own takes any value.

    >>> [*not_finite({"options": {"scale": [1.0, float("nan")]}})]
    ['options.scale[1] (=NaN) must be a finite number']
    """
    if isinstance(values, float) and not math.isfinite(values):
        yield f"{key} (={json.dumps(values)}) must be a finite number"
    elif isinstance(values, Mapping):
        for name, value in values.items():
            yield from not_finite(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list | tuple):
        for i, value in enumerate(values):
            yield from not_finite(value, f"{key}[{i}]")


def _names(config: Values) -> Iterator[str]:
    """Tasks, nowcasters and methods that are named but not defined, and a run that is named like a release."""
    if re.search(r"-v\d+$", config["run"]):
        yield f"run (={config['run']!r}): names that end in -v<number> are those of releases, which never change"
    fit, evaluate = config["metatrain"], config["evaluate"]
    lists = {"metatrain.tasks": fit["tasks"], "evaluate.tasks": evaluate["tasks"]}
    lists |= {f"metatrain.nowcasters.{n}.tasks": e["tasks"] for n, e in fit["nowcasters"].items() if "tasks" in e}
    lists["report.notes"] = list(config["report"].get("notes", ()))
    for key, tasks in lists.items():
        for i, task in enumerate(tasks):
            if task not in config["tasks"]:
                yield f"{key}[{i}] (={task!r}): no such task; {suggest(task, config['tasks'])}"
            elif key.startswith("metatrain") and task not in config["trajectories"]:
                yield f"{key}[{i}] (={task!r}): has no entry in trajectories; {suggest(task, config['trajectories'])}"
    for task in config["trajectories"]:
        if task not in config["tasks"]:
            yield f"trajectories.{task}: no such task; {suggest(task, config['tasks'])}"
    for name, method in evaluate["methods"].items():
        yield from _method(f"evaluate.methods.{name}", method, fit)
        for i, task in enumerate(method.get("tasks", ())):
            if task not in evaluate["tasks"]:
                allowed = suggest(task, evaluate["tasks"])
                yield f"evaluate.methods.{name}.tasks[{i}] (={task!r}): not among evaluate.tasks; {allowed}"
    for use in uses(Config, config):
        yield from use.problems()
    for name, entry in fit.get("optimizers", {}).items():
        key, task = f"metatrain.optimizers.{name}", entry["task"]
        if task not in config["tasks"]:
            yield f"{key}.task (={task!r}): no such task; {suggest(task, config['tasks'])}"
        if (longest := entry.get("max_steps", L2OSpec.max_steps)) < (unroll := entry.get("unroll", L2OSpec.unroll)):
            yield f"{key}.max_steps (={longest}) must be at least {key}.unroll (={unroll})"
    tables = [*STUDY_TABLES, *config.get("studies", ())]
    for i, study in enumerate(config["report"].get("studies", ())):
        if study not in tables:
            yield f"report.studies[{i}] (={study!r}): no such study; {suggest(study, tables)}"
    baseline = config["report"]["baseline"]
    plain = [name for name, method in evaluate["methods"].items() if method["nowcaster"] == "none"]
    if baseline not in plain:
        yield f"report.baseline (={baseline!r}) must be a method without a nowcaster; {suggest(baseline, plain)}"
    elif "tasks" in evaluate["methods"][baseline]:
        yield f"evaluate.methods.{baseline}.tasks: {baseline} is the baseline of every task; leave it out"


def _method(key: str, method: Values, fit: Values) -> Iterator[str]:
    kind, nowcasters = method["nowcaster"], fit["nowcasters"]
    if kind == "l2o":
        yield from _learned(key, method, fit.get("optimizers", {}))
        return
    if kind in NOWCASTERS:
        yield from _of_fitted(key, method, nowcasters)
    for needed, owner in (("source", "metatrained"), ("path", "checkpoint")):
        if kind == owner and needed not in method:
            yield f"{key}.{needed}: missing; a method with nowcaster {owner!r} needs it"
        if kind != owner and needed in method:
            yield f"{key}.{needed} (={method[needed]!r}) goes with nowcaster {owner!r} only; this one is {kind!r}"
    if kind == "metatrained" and method.get("source", next(iter(nowcasters), "")) not in nowcasters:
        source = method["source"]
        yield f"{key}.source (={source!r}): no such entry of metatrain.nowcasters; {suggest(source, nowcasters)}"


def _of_fitted(key: str, method: Values, nowcasters: Values) -> Iterator[str]:
    kind, options = method["nowcaster"], method.get("options", {})
    if kind == "metatrained":
        kind = nowcasters.get(method.get("source", ""), {}).get("kind", "nino")
    for name in APPROXIMATIONS:
        if name in options and kind not in ("checkpoint", "nino"):
            yield (
                f"{key}.options.{name} (={options[name]}): approximates the messages of a NiNo, with nowcaster "
                f"'checkpoint' or 'metatrained', and {kind!r} sends none; leave it out"
            )
    if "scaling" in options and method["nowcaster"] not in FITTED:
        yield (
            f"{key}.options.scaling (={options['scaling']}): is for NiNo and WNN+, with nowcaster 'checkpoint' or "
            f"'metatrained', and {kind!r} scales no states; leave it out"
        )


def _learned(key: str, method: Values, optimizers: Values) -> Iterator[str]:
    if ("source" in method) == ("path" in method):
        yield f"{key}: nowcaster 'l2o' needs either source, one of metatrain.optimizers, or path, a file"
    if (source := method.get("source")) is not None and source not in optimizers:
        yield f"{key}.source (={source!r}): no such entry of metatrain.optimizers; {suggest(source, optimizers)}"
    if method.get("options"):
        yield f"{key}.options: a method with nowcaster 'l2o' has none; leave them out"


def _tasks(config: Values) -> Iterator[str]:
    for name, task in config["tasks"].items():
        evaluation, key = task["evaluation"], f"tasks.{name}.evaluation"
        every, coarse = evaluation["test_every"], evaluation["validation_every"]
        if coarse % every:
            yield f"{key}.validation_every (={coarse}) must be a multiple of {key}.test_every (={every})"
        if evaluation.get("checkpoint_every") and (model := task["model"]["name"]) in NO_FOLDERS:
            yield (
                f"{key}.checkpoint_every (={evaluation['checkpoint_every']}) writes folders of Hugging Face models, "
                f"and tasks.{name}.model.name (={model}) is none: leave it out"
            )
        yield from _target(f"tasks.{name}", task)
        yield from data_checks(f"tasks.{name}.data", task["data"])
        target = task["target"]
        if target.get("split") == "validation" and (coarse != every or evaluation.get("hardest_first")):
            yield (
                f"tasks.{name}.target.split (=validation) needs {key}.validation_every (={coarse}) to equal "
                f"{key}.test_every (={every}), and {key}.hardest_first off"
            )
        options, key = task["model"].get("options", {}), f"tasks.{name}.model.options"
        if task["model"]["name"] in TRANSFORMERS:
            yield from misfits(key, options)
        recipe, key = task["recipe"], f"tasks.{name}.recipe"
        if recipe["batch_size"] % (parts := recipe.get("accumulate", 1)):
            yield f"{key}.batch_size (={recipe['batch_size']}) must be a multiple of {key}.accumulate (={parts})"


def _target(key: str, task: Values) -> Iterator[str]:
    """Metrics and models that the data are not for, directions that go without saying, values that no run can meet."""
    target, value, model = task["target"], task["target"]["value"], task["model"]
    metric = target["metric"]
    if (what := told_of(task["data"])) is not None:
        if problem := unmeasured(target, *what):
            yield f"{key}.target.metric (={metric}) {problem}"
        if problem := unfit(model["name"], what[0]):
            yield f"{key}.model.name (={model['name']}) {problem}"
    if metric in METRICS and "better" in target:
        way = METRICS[metric].better
        yield f"{key}.target.better (={target['better']}): of {metric}, {way} is better; leave it out"
    if metric not in METRICS and "better" not in target:
        yield f"{key}.target.better: missing; say which values of {metric} are better, higher or lower"
    if metric == "accuracy" and value > 100:
        yield f"{key}.target.value (={value}) is an accuracy in percent: at most 100"
    if metric in METRICS and value <= (least := 1 if metric == "perplexity" else 0):
        yield f"{key}.target.value (={value}): no {metric} is {least} or less; give one that a run can meet"
    if task["evaluation"].get("hardest_first") and metric != RULED_OUT:
        yield f"{key}.evaluation.hardest_first: rules out targets of {RULED_OUT} alone; leave it out"
    if model["name"] in LIBRARIES and not isinstance(model.get("options", {}).get("model"), str):
        yield f"{key}.model.options.model: missing; name one of the models of {model['name']}"


def _studies(config: Values) -> Iterator[str]:
    key, study = "studies.overhead", config.get("studies", {}).get("overhead", {})
    batch, parts = (study.get(name, getattr(OverheadSpec, name)) for name in ("batch", "accumulate"))
    if batch % parts:
        yield f"{key}.batch (={batch}) must be a multiple of {key}.accumulate (={parts})"


def _seeds(config: Values) -> Iterator[str]:
    """No network may be evaluated that a nowcaster has seen in training."""
    for task, entry in config["trajectories"].items():
        first = entry.get("first_seed", 0)
        last = first + entry["models"] - 1
        for i, seed in enumerate(config["evaluate"]["seeds"]):
            if first <= seed <= last:
                yield (
                    f"evaluate.seeds[{i}] (={seed}) is a seed of trajectories.{task} ({first} to {last}): "
                    f"evaluate on networks that meta-training has not seen"
                )
