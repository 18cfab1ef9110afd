"""Nowcasters of the right size in place of weights that do not exist yet: a nowcast's time depends on size alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nino.evaluate.methods import approximate, method_nowcaster
from nino.l2o import L2ONet
from nino.nowcasters import WNN, Nowcaster, build_nowcaster, load_nowcaster
from nino.specs import MethodSpec, ScheduleSpec

PUBLISHED: dict[str, Callable[[], Nowcaster]] = {
    "nino_no_posw": lambda: build_nowcaster("nino", hidden=128),
    "nino_mlp": lambda: build_nowcaster("wnn+", hidden=128),
    "nino_mlp_h32": lambda: build_nowcaster("wnn+", hidden=32),
    "wnn": WNN,
}


def stand_in(method: MethodSpec, schedule: ScheduleSpec) -> tuple[Nowcaster | None, str | None]:
    """What to time in place of a method's nowcaster.

    Args:
        method: any but a ``metatrained`` one.
        schedule: when nowcasts happen.

    Returns:
        The nowcaster, None where a run has none of its own (the base optimizer, a learned one, the oracle); and what to
        note.
    """
    if method.nowcaster == "oracle":
        return None, None
    if method.nowcaster == "l2o":
        return None, "a learned optimizer: its steps are timed as the base optimizer's; they take longer"
    if method.nowcaster != "checkpoint" or method.path is None:
        built = method_nowcaster(method, 0, schedule)
        assert not isinstance(built, L2ONet)
        return built, None
    name, note = method.path.removesuffix(".pt"), None
    if Path(method.path).is_file():
        nowcaster = load_nowcaster(method.path)
    elif name in PUBLISHED:
        nowcaster = PUBLISHED[name]()
    else:
        nowcaster = PUBLISHED["nino_no_posw"]()
        note = f"no file {method.path}; timed as a NiNo of hidden size 128"
    return approximate(method, 0, nowcaster), note
