"""What ``NiNo`` accepts: arguments, and a model, optimizer, graph and nowcaster that belong together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from nino.graphs.weights import check_placeable
from nino.optim.optimizer_view import OptimizerLike
from nino.schedule import Schedule

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.base import Nowcaster


def check_arguments(
    model: Any, ckpt: Any, nowcaster: Any, accept: str, update_scale: float, resume_schedule: str
) -> nn.Module:
    """Refuse arguments that mean nothing, or that contradict each other; give the model back."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` is a {type(model).__name__}: pass the torch.nn.Module that `base_opt` trains")
    if nowcaster is not None and ckpt is not None:
        raise ValueError("`ckpt` and `nowcaster` are both given: pass one of them")
    check_accept(accept)
    if resume_schedule not in ("saved", "given"):
        raise ValueError(
            f"`resume_schedule` (={resume_schedule!r}) must be 'saved' (a loaded state's schedule takes over) or "
            f"'given' (the constructor's stays)"
        )
    check_update_scale(update_scale)
    return model


def check_update_scale(update_scale: float) -> None:
    """Refuse a factor that would write NaN or infinity into a model."""
    if not math.isfinite(update_scale):
        raise ValueError(f"`update_scale` (={update_scale}) must be a finite number; 1 takes the prediction itself")


def check_accept(accept: str) -> str:
    """Give ``accept`` back if it is a rule."""
    if accept not in ("finite", "loss"):
        raise ValueError(f"`accept` (={accept!r}) must be 'finite' or 'loss'")
    return accept


def schedule_of(
    nowcaster: Nowcaster | None, context: int | None, horizons: int | Sequence[int] | None, **asked: Any
) -> Schedule:
    """The schedule that the arguments ask for; what they leave open the nowcaster decides.

    Args:
        nowcaster: None gives a schedule that nobody follows.
        context: states c; None takes the nowcaster's.
        horizons: None takes the nowcaster's if it knows only one, else the decay, see ``Schedule.make``.
        **asked: the other arguments of `Schedule.make`.

    Raises:
        ValueError: for what the nowcaster cannot do; names the argument.
    """
    if nowcaster is None:
        return Schedule(period=1, context=1, spacing=1, horizons=(1,))
    name, reads, only = type(nowcaster).__name__, nowcaster.context, nowcaster.fixed_horizon
    if reads is not None and context not in (None, reads):
        raise ValueError(f"`context` (={context}) must be {reads}, the states that {name} reads")
    schedule = Schedule.make(context=reads or context or 5, horizons=only if horizons is None else horizons, **asked)
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


def check_parameters(named: Mapping[str, Tensor]) -> None:
    """Refuse models whose states cannot be nowcast.

    Raises:
        ValueError: for a model without parameters, or with complex, integer or uninitialised ones; names the parameter.
    """
    if not named:
        raise ValueError("`model` has no parameters: nothing to nowcast")
    check_placeable(named.items())
    for name, parameter in named.items():
        if not parameter.is_floating_point():
            raise ValueError(
                f"parameter {name!r} is {parameter.dtype}: only floating point can be nowcast; "
                f"go on with the base optimizer alone (nowcaster=None)"
            )


def check_ownership(optimizer: OptimizerLike, named: Mapping[str, Tensor]) -> None:
    """Refuse a base optimizer that holds parameters which the model has not.

    Raises:
        ValueError: says where the first one lies and what to do.
    """
    of_model = {id(p) for p in named.values()}
    for g, group in enumerate(optimizer.param_groups):
        for i, parameter in enumerate(group["params"]):
            if id(parameter) not in of_model:
                raise ValueError(
                    f"`base_opt` holds a parameter that `model` has not: number {i} of group {g}, shape "
                    f"{tuple(parameter.shape)}; pass the model that the optimizer was made for, whole, and make the "
                    f"optimizer after replacing layers"
                )


def check_unreplaced(model: nn.Module, named: Mapping[str, Tensor]) -> None:
    """Refuse to go on with parameters that are no longer the model's.

    Raises:
        ValueError: names the first one that was replaced, added or taken away.
    """
    present = dict(model.named_parameters())
    if {id(p) for p in present.values()} == {id(p) for p in named.values()}:
        return
    name = next(n for n in [*named, *present] if present.get(n) is not named.get(n))
    what = "was added" if name not in named else "is gone" if name not in present else "was replaced by another tensor"
    raise ValueError(
        f"parameter {name!r} of the model {what} after the optimizer was made: make `base_opt` and NiNo after changing "
        f"layers, or go on with the base optimizer alone (`opt.enabled = False`)"
    )


def check_graph(graph: NeuralGraph, named: Mapping[str, Tensor]) -> None:
    """Refuse a graph of another model; one made from the model inside its wrappers, or around them, will do.

    Raises:
        ValueError: names the first parameter that differs.
    """
    shapes = {p.name: p.shape for p in graph.parameters}
    first = next(iter(named))
    wrapper = next((w for w in ("_orig_mod.", "module.") if next(iter(shapes), "") == w + first), "")
    compare_parameters({name.removeprefix(wrapper): shape for name, shape in shapes.items()}, named, "`graph`")


def compare_parameters(shapes: dict[str, tuple[int, ...]], named: Mapping[str, Tensor], what: str) -> None:
    """Refuse names and shapes that are not the model's own, in its order.

    Raises:
        ValueError: names the first parameter that differs.
    """
    model = {name: tuple(p.shape) for name, p in named.items()}
    if list(shapes.items()) == list(model.items()):
        return
    for name in [*model, *shapes]:
        if model.get(name) != shapes.get(name):
            there = f"has shape {shapes[name]} there" if name in shapes else "is missing there"
            here = f"shape {model[name]} in the model" if name in model else "is not in the model"
            raise ValueError(f"{what} is of another model: parameter {name!r} {there}, {here}")
    raise ValueError(f"{what} is of another model: it lists the same parameters in another order")
