"""Numbers of the methods' schedules that must fit each other, the steps of a task and the nowcaster."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nino.config.fit_checks import fit_of
from nino.specs import MethodSpec, ScheduleSpec
from nino.specs.method_schedule import method_schedule
from nino.specs.methods import PUBLISHED_CONTEXT, SCHEDULE_OPTIONS, WITHOUT_NOWCASTS

Values = Mapping[str, Any]


def schedules(config: Values) -> Iterator[str]:
    """Schedules that do not fit, of the run and of each method that has one of its own."""
    schedule = ScheduleSpec(**config["evaluate"]["schedule"])
    yield from _training_lengths(config, MethodSpec("<method>", "none"), schedule, config["evaluate"]["tasks"])
    for name, values in config["evaluate"]["methods"].items():
        method = MethodSpec(name, **{key: value for key, value in values.items() if key != "tasks"})
        if method.nowcaster in WITHOUT_NOWCASTS:
            continue
        if {*SCHEDULE_OPTIONS} & {*method.options}:
            tasks = values.get("tasks", config["evaluate"]["tasks"])
            yield from _training_lengths(config, method, schedule, tasks)
        yield from _states(config, method, schedule)


def _training_lengths(
    config: Values, method: MethodSpec, schedule: ScheduleSpec, tasks: Sequence[str]
) -> Iterator[str]:
    """Numbers of a method's schedule that do not fit each other, or the steps of a task."""
    for task in tasks:
        try:
            method_schedule(method, schedule, config["tasks"][task]["recipe"]["steps"])
        except ValueError as error:
            yield _in_words_of_the_config(str(error), method, task)
            if "`max_train_steps`" not in str(error):
                return  # it is wrong whatever the task


def _in_words_of_the_config(message: str, method: MethodSpec, task: str) -> str:
    """An error of the schedule, with the config's keys where it names arguments."""

    def key(argument: re.Match[str]) -> str:
        return f"tasks.{task}.recipe.steps" if argument[1] == "max_train_steps" else _key(method, argument[1])

    return re.sub(r"`(\w+)`", key, message).replace("(nowcaster=None)", "(nowcaster: none)")


def _key(method: MethodSpec, option: str) -> str:
    """Where the config says, or may say, a number of a method's schedule."""
    if option in method.options or not hasattr(ScheduleSpec, option):
        return f"evaluate.methods.{method.name}.options.{option}"
    return f"evaluate.schedule.{option}"


def _states(config: Values, method: MethodSpec, schedule: ScheduleSpec) -> Iterator[str]:
    """Where a method's context is not the one that its nowcaster reads, or its horizon exceeds what that predicts."""
    context, furthest = (method.options.get(option, getattr(schedule, option)) for option in ("context", "max_horizon"))
    reach = "horizons" if "horizons" in method.options else "max_horizon"
    furthest = max(method.options.get("horizons", (furthest,)))
    context_key = f"{_key(method, 'context')} (={context})"
    if method.nowcaster == "metatrained":
        fit, source = fit_of(config, str(method.source)), f"metatrain.nowcasters.{method.source} (method {method.name})"
        if fit.context != context:
            yield f"{context_key}: {source} reads {fit.context} states"
        if fit.max_horizon < furthest:
            yield f"{_key(method, reach)} (={furthest}): {source} predicts at most {fit.max_horizon} states ahead"
    published = method.nowcaster == "checkpoint" and not os.path.isfile(str(method.path))
    if published and context != PUBLISHED_CONTEXT:
        yield f"{context_key}: {method.path} (method {method.name}) reads {PUBLISHED_CONTEXT} states"
