"""What the constructor of ``NiNo`` accepts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from nino.optim.schedule import Schedule

if TYPE_CHECKING:
    from nino.nowcasters.base import Nowcaster


def check_arguments(model: Any, ckpt: Any, nowcaster: Any, accept: str, update_scale: float) -> nn.Module:
    """Refuse arguments that mean nothing, or that contradict each other; give the model back."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` is a {type(model).__name__}: pass the torch.nn.Module that `base_opt` trains")
    if ckpt is not None and nowcaster is not None:
        raise ValueError("`ckpt` and `nowcaster` are both given: pass one of them")
    if accept not in ("finite", "loss"):
        raise ValueError(f"`accept` (={accept!r}) must be 'finite' or 'loss'")
    if not math.isfinite(update_scale):
        raise ValueError(f"`update_scale` (={update_scale}) must be a finite number; 1 takes the prediction itself")
    return model


def loaded(ckpt: str | Path) -> Nowcaster:
    """The nowcaster of a file or known name, imported only now."""
    from nino.nowcasters import load_nowcaster

    return load_nowcaster(ckpt)


def schedule_of(
    nowcaster: Nowcaster | None,
    period: int,
    context: int | None,
    spacing: int | None,
    horizons: int | Sequence[int] | None,
    max_train_steps: int | None,
    max_horizon: int,
    power: float,
) -> Schedule:
    """The schedule asked for, filled in and held to what the nowcaster can do; without one there is nothing to plan."""
    if nowcaster is None:
        return Schedule(period=1, context=1, spacing=1, horizons=(1,))
    name, reads, only = type(nowcaster).__name__, nowcaster.context, nowcaster.fixed_horizon
    if reads is not None and context not in (None, reads):
        raise ValueError(f"`context` (={context}) must be {reads}, the states that {name} reads")
    schedule = Schedule.make(
        period=period,
        context=reads or context or 5,
        spacing=spacing,
        horizons=only if horizons is None else horizons,
        max_train_steps=max_train_steps,
        max_horizon=max_horizon,
        power=power,
    )
    furthest = max(schedule.horizons)
    if nowcaster.max_horizon is not None and furthest > nowcaster.max_horizon:
        raise ValueError(
            f"`max_horizon` or `horizons` (={furthest}) reaches further than the {nowcaster.max_horizon} states that "
            f"{name} predicts"
        )
    if only is not None and set(schedule.horizons) != {only}:
        raise ValueError(
            f"`horizons` (={list(schedule.horizons)}) must be {only}, the one horizon that {name} predicts"
        )
    return schedule
