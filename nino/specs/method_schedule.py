"""The schedule of a row of the results table: the experiment's, with the row's own options laid over it.

The config's checks, the evaluation, the report and the plan all ask here, so that none of them charges, checks or
prints nowcasts that a run does not take.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from nino.schedule import Schedule
from nino.specs.methods import NOWCASTERS, MethodSpec
from nino.specs.references import Reference
from nino.specs.schedule import ScheduleSpec

WNN_HORIZON = 5  # nino.nowcasters.WNN.fixed_horizon, known here without importing torch


def method_schedule(
    method: MethodSpec, schedule: ScheduleSpec, steps: int | None = None, fixed_horizon: int | None = None
) -> Schedule:
    """When a method's nowcasts take place, which states they read and how far they reach.

    Args:
        method: a row of the table; its options win over ``schedule``.
        schedule: the experiment's.
        steps: T, steps of the whole run; None stands for a single period, which tells all but the horizons of later
            nowcasts.
        fixed_horizon: the only k that the method's nowcaster predicts, where that is at hand; None looks it up.

    Returns:
        The schedule that ``NiNo`` follows in a run of this method. The base optimizer and learned optimizers, which
        take no nowcasts, get the one that they would follow.

    Raises:
        ValueError: for numbers that do not fit each other, as `nino.schedule.Schedule.make`.

    >>> method_schedule(MethodSpec("m", "linear", options={"period": 500, "context": 4}), ScheduleSpec(), 1500)
    Schedule(period=500, context=4, spacing=125, horizons=(40, 13, 1))
    """
    options = method.options
    period = options.get("period", schedule.period)
    return Schedule.make(
        period=period,
        context=options.get("context", schedule.context),
        spacing=options.get("spacing"),
        horizons=options.get("horizons", fixed_horizon or known_fixed_horizon(method)),
        max_train_steps=period if steps is None else steps,
        max_horizon=options.get("max_horizon", schedule.max_horizon),
        power=options.get("power", schedule.power),
    )


def known_fixed_horizon(method: MethodSpec) -> int | None:
    """The only k that a method's nowcaster predicts, found without loading weights or running code.

    Args:
        method: a row of the table.

    Returns:
        WNN's, by its known name or files, or what a class of the user's own says; None where any k will do.

    >>> known_fixed_horizon(MethodSpec("WNN", "checkpoint", path="wnn"))
    5
    """
    if method.nowcaster not in NOWCASTERS and (reference := Reference.find(method.nowcaster, "nowcaster")):
        horizon = reference.constant("fixed_horizon")
        return horizon if isinstance(horizon, int) else None
    if method.nowcaster == "checkpoint" and method.path is not None and _is_wnn(method.path):
        return WNN_HORIZON
    return None


def _is_wnn(path: str) -> bool:
    """Whether a checkpoint is WNN: by its known name, our own file's metadata, or the names of its three files."""
    file = Path(path)
    if not os.path.isfile(file):
        return path.removesuffix(".pt") == "wnn"
    if file.suffix == ".safetensors":
        return _safetensors_kind(file) == "wnn"
    name = file.name.lower()
    parts = list(re.finditer("conv|fc|bias", name))
    beside = {other.name.lower() for other in file.parent.iterdir()}
    return bool(parts) and all(
        name[: parts[-1].start()] + part + name[parts[-1].end() :] in beside for part in ("conv", "fc", "bias")
    )


def _safetensors_kind(file: Path) -> str | None:
    """The kind of nowcaster that ``save_nowcaster`` noted in a file's header; None in a foreign or damaged file."""
    with file.open("rb") as content:
        size = int.from_bytes(content.read(8), "little")
        try:
            header = json.loads(content.read(size))
            return json.loads(header["__metadata__"]["nino"])["kind"]
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
