"""From a row of the results table to the optimizer that trains its runs.

Every method trains the same network from the same initialisation, on the same batches in the same order, with the
recipe of its task, unless it has one of its own (`MethodSpec.recipe`). Methods differ in the steps that are nowcasts
instead of base steps. Such a step takes no gradient and skips its batch, so that step t means batch t for every method.

The controls bound the table:

- ``identity`` does not move. It is not the base optimizer under another name: its nowcasts replace T / period base
  steps, so it shows what nowcasts cost before they predict anything.
- ``random`` moves as far as ``linear`` does, in a direction drawn from ``derive(seed, "random")``: the lower bound.
- ``linear`` extrapolates a line through the states: what a forecast is worth without a graph or meta-training.
- ``oracle`` moves to the run's own later state: what a perfect forecast would gain.

``l2o`` is not a nowcaster but a learned optimizer, which takes every step.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from nino.evaluate.oracle import Oracle
from nino.evaluate.user_class import build_user_nowcaster
from nino.l2o import L2ONet, load_l2o
from nino.l2o.fit import start as start_learned
from nino.nowcasters import NOWCASTERS, approximated, load_nowcaster
from nino.nowcasters.base import Nowcaster
from nino.nowcasters.scaling import ScaledStates
from nino.optim import NiNo
from nino.seeding import derive
from nino.specs import MethodSpec, Reference, ScheduleSpec
from nino.specs.method_schedule import method_schedule
from nino.specs.methods import APPROXIMATIONS, FITTED, FROM_FILE, OF_FITTED, WRAPPER_OPTIONS, MethodOptions
from nino.tasks import Task
from nino.tasks.model_graphs import task_graph
from nino.tasks.networks import is_ours
from nino.training import Training


def nowcaster_file(method: MethodSpec, path: Path | None) -> Path | None:
    """The file that a method's nowcaster is read from.

    Args:
        method: a row of the table.
        path: overrides ``method.path``.

    Returns:
        The file, or the name of a published nowcaster as a path; None for a method that reads no file.

    Raises:
        ValueError: if the method reads a file and none is given, or the other way round.
    """
    if method.nowcaster not in FROM_FILE:
        if path is not None:
            raise ValueError(
                f"`nowcaster_path` (={path}) was given, but method {method.name!r} is {method.nowcaster!r}, which "
                f"reads no file: leave it out, or use one of {', '.join(FROM_FILE)}"
            )
        return None
    if path is None and method.path is None:
        raise ValueError(
            f"method {method.name!r} is {method.nowcaster!r}: pass `nowcaster_path`, the file of its weights"
        )
    return path if path is not None else Path(str(method.path))


def method_nowcaster(
    method: MethodSpec, seed: int, schedule: ScheduleSpec, path: Path | None = None
) -> Nowcaster | L2ONet | None:
    """A method's nowcaster, or its learned optimizer.

    Args:
        method: a row of the table.
        seed: of the run; ``random`` draws its directions from ``derive(seed, "random")``, and a user's class that takes
            a ``seed`` gets ``derive(seed, "nowcaster")``.
        schedule: gives the steps between states, which ``oracle`` needs.
        path: file of the weights for ``checkpoint``, ``metatrained`` and ``l2o``.

    Returns:
        The nowcaster; None for the base optimizer alone.

    Raises:
        ValueError: for an unknown nowcaster, and as `nowcaster_file`.
    """
    file = nowcaster_file(method, path)
    common = (*WRAPPER_OPTIONS, *(OF_FITTED if method.nowcaster in FITTED else ()))
    options = {key: value for key, value in method.options.items() if key not in common}
    if options and (file is not None or method.nowcaster in ("none", "oracle")):
        raise ValueError(
            f"method {method.name!r}: option {next(iter(options))!r} means nothing to nowcaster {method.nowcaster!r}; "
            f"allowed are {', '.join(common)}"
        )
    if method.nowcaster == "l2o":
        return load_l2o(Path(str(file)))
    if file is not None:
        return approximate(method, seed, rescale(method, load_nowcaster(file)))
    if method.nowcaster == "none":
        return None
    if method.nowcaster == "oracle":
        return Oracle(method_schedule(method, schedule).spacing)
    if method.nowcaster not in NOWCASTERS:
        if Reference.find(method.nowcaster, "nowcaster"):
            return build_user_nowcaster(method.nowcaster, derive(seed, "nowcaster"), **options)
        allowed = ", ".join(["none", *sorted(NOWCASTERS), "oracle", *FROM_FILE, "FILE.py:NAME"])
        raise ValueError(f"method {method.name!r}: nowcaster is {method.nowcaster!r}; allowed are {allowed}")
    if method.nowcaster == "random":
        options["seed"] = derive(seed, "random")
    return NOWCASTERS[method.nowcaster](**options)


def rescale(method: MethodSpec, nowcaster: Nowcaster) -> Nowcaster:
    """A method's nowcaster, with the scaling of states that the option ``scaling`` names.

    Raises:
        ValueError: for a nowcaster without a choice of scalings, and for a scaling that it does not have.
    """
    if (mode := method.options.get("scaling")) is None:
        return nowcaster
    if not isinstance(nowcaster, ScaledStates):
        raise ValueError(
            f"method {method.name!r}: `scaling` (={mode!r}) is for NiNo and WNN+, and {type(nowcaster).__name__} has "
            "a way of its own: leave it out"
        )
    try:
        nowcaster.scaling = nowcaster.mode(mode)
    except ValueError as error:
        raise ValueError(f"method {method.name!r}: {error}") from error
    return nowcaster


def approximate(method: MethodSpec, seed: int, nowcaster: Nowcaster) -> Nowcaster:
    """A method's nowcaster, with the approximations that its options name; edges from ``derive(seed, "edges")``.

    Raises:
        ValueError: for a nowcaster without approximations.
    """
    asked = {key: method.options[key] for key in APPROXIMATIONS if key in method.options}
    try:
        return approximated(nowcaster, **asked, seed=derive(seed, "edges"))
    except ValueError as error:
        raise ValueError(f"method {method.name!r}: {error}") from error


def start_training(
    task: Task, method: MethodSpec, seed: int, schedule: ScheduleSpec, nowcaster: Nowcaster | L2ONet | None
) -> Training:
    """A run before its first step: the recipe's optimizer alone or wrapped in ``NiNo``, or a learned optimizer.

    Args:
        task: what is trained; its recipe holds for what the method does not say otherwise.
        method: a row of the table; its options may set arguments of ``NiNo``.
        seed: of initialisation and batch order.
        schedule: when nowcasts happen and how far they reach.
        nowcaster: as `method_nowcaster` returns it.

    Returns:
        The run.

    Raises:
        ValueError: for a schedule that does not fit the number of steps.
    """
    task = task.with_recipe(method.recipe_of(task.spec))
    if nowcaster is None:
        return Training(task, seed)
    if isinstance(nowcaster, L2ONet):
        return start_learned(task, seed, nowcaster.to(task.device))
    bases: list[Optimizer] = []
    steps = task.spec.recipe.steps
    timing = method_schedule(method, schedule, steps, nowcaster.fixed_horizon)
    options = {key: value for key, value in method.options.items() if key in WRAPPER_OPTIONS}
    options.setdefault("still", MethodOptions.still)  # "predict", as published; the default of NiNo itself is "keep"
    options |= {
        "period": timing.period,
        "context": timing.context,
        "spacing": timing.spacing,
        "horizons": timing.horizons,
    }

    def wrap(base: Optimizer, model: nn.Module) -> Optimizer:
        bases.append(base)
        # record the graph of a network from outside now, on the task's data: one in a stack is never called itself
        recorded = nowcaster.needs_graph and not is_ours(task.spec.model)
        read = {name: options[name] for name in ("topology", "unknown") if name in options}
        graph = task_graph(task, model, **read) if recorded else None
        return NiNo(
            base, model=model, nowcaster=nowcaster, graph=graph, max_train_steps=steps, verbose=False, **options
        )

    training = Training(task, seed, wrap)
    if options.get("accept") == "loss":
        training.optimizer.loss = lambda: task.loss(training.model, training.next_batch())  # type: ignore[attr-defined]
    if isinstance(nowcaster, Oracle):
        nowcaster.follow(training, bases[0])
    return training
