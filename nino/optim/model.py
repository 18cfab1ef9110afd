"""What must hold between a model, its optimizer and its graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph


def check_parameters(named: Mapping[str, Tensor]) -> None:
    """Refuse models whose states cannot be nowcast.

    Raises:
        ValueError: for a model without parameters, or with complex, integer or sharded ones; names the parameter.
    """
    if not named:
        raise ValueError("`model` has no parameters: nothing to nowcast")
    for name, parameter in named.items():
        if not parameter.is_floating_point():
            raise ValueError(
                f"parameter {name!r} is {parameter.dtype}: only floating point can be nowcast; "
                f"go on with the base optimizer alone (nowcaster=None)"
            )
        if hasattr(parameter, "placements"):
            raise ValueError(
                f"parameter {name!r} is sharded (DTensor): a nowcast needs whole parameters; train with DDP, "
                f"or nowcast offline from whole checkpoints (`nino step`)"
            )


def check_ownership(optimizer: torch.optim.Optimizer, named: Mapping[str, Tensor]) -> None:
    """Refuse a base optimizer that holds parameters which the model has not.

    Raises:
        ValueError: says where the first one lies and what to do.
    """
    own = {id(p) for p in named.values()}
    for g, group in enumerate(optimizer.param_groups):
        for i, parameter in enumerate(group["params"]):
            if id(parameter) not in own:
                raise ValueError(
                    f"`base_opt` holds a parameter that `model` has not: number {i} of group {g}, shape "
                    f"{tuple(parameter.shape)}; pass the model that the optimizer was made for, whole, and make the "
                    f"optimizer after replacing layers"
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
    own = {name: tuple(p.shape) for name, p in named.items()}
    if list(shapes.items()) == list(own.items()):
        return
    for name in [*own, *shapes]:
        if own.get(name) != shapes.get(name):
            there = f"has shape {shapes[name]} there" if name in shapes else "is missing there"
            here = f"shape {own[name]} in the model" if name in own else "is not in the model"
            raise ValueError(f"{what} is of another model: parameter {name!r} {there}, {here}")
    raise ValueError(f"{what} is of another model: it lists the same parameters in another order")
