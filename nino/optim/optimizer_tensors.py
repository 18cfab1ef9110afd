"""The tensors that an optimizer keeps for parameters: in their states, and in containers and flat tensors beside."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nino.optim.shards import is_sharded, local

DEPTH = 4  # of containers inside each other that are looked into
# What torch's optimizers and their like add up from gradients, which may lie near the weights by chance.
ACCUMULATORS = {
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer"),
    *("sum", "square_avg", "grad_avg", "acc_delta", "step_size", "prev"),
}


@dataclass(frozen=True)
class OptimizerTensor:
    """A tensor with a parameter's elements in an optimizer.

    Args:
        optimizer: the class that holds it.
        name: of the entry in the parameter's state, or of the optimizer's attribute, and its place inside.
        parameter: whose shape it has.
        tensor: it itself, or a view of it in this shape.
    """

    optimizer: str
    name: str
    parameter: Tensor
    tensor: Tensor

    def __str__(self) -> str:
        """As a warning names it."""
        return f"{self.optimizer}'s {self.name!r}"

    @property
    def names(self) -> list[str]:
        """The names that its own is made of: ``slow`` and ``0`` of ``slow[0]``."""
        return self.name.replace("[", " ").replace("]", " ").split()

    @property
    def place(self) -> tuple[int, int]:
        """Where its elements lie here: the same for all views of them."""
        return _place(self.tensor)


def optimizer_tensors(base: Any, parameters: Sequence[Tensor]) -> Iterator[OptimizerTensor]:
    """What an optimizer, or one inside it, keeps for parameters: floating-point tensors of their numbers of elements.

    Well-known accumulators of gradients are left out.
    """
    asked = {id(p) for p in parameters}
    seen = {_place(p) for p in parameters}
    for optimizer in _within(base):
        for name, parameter, tensor in [*_in_states(optimizer, parameters), *_beside(optimizer)]:
            view = _alike(tensor, parameter) if id(parameter) in asked else None
            if view is None or ACCUMULATORS.intersection(OptimizerTensor("", name, parameter, view).names):
                continue
            if (place := _place(view)) not in seen:
                seen.add(place)
                yield OptimizerTensor(type(optimizer).__name__, name, parameter, view)


def _within(base: Any) -> Iterator[Any]:
    """An optimizer and those that it wraps, such as Lookahead's."""
    waiting, seen = [base], set()
    while waiting:
        optimizer = waiting.pop(0)
        if id(optimizer) in seen or not isinstance(getattr(optimizer, "state", None), Mapping):
            continue
        seen.add(id(optimizer))
        yield optimizer
        waiting += [value for value in vars(optimizer).values() if hasattr(value, "param_groups")]


def _in_states(optimizer: Any, parameters: Sequence[Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
    for parameter in parameters:
        entries = optimizer.state[parameter] if parameter in optimizer.state else {}
        for key, entry in entries.items() if isinstance(entries, Mapping) else ():
            if key != "step":
                yield from ((f"{key}{place}", parameter, tensor) for place, tensor in _tensors(entry))


def _beside(optimizer: Any) -> Iterator[tuple[str, Tensor, Tensor]]:
    """What stands for the parameters in attributes: masters of apex and Megatron, flat tensors, slow weights."""
    groups = [group["params"] for group in optimizer.param_groups]
    for name, value in vars(optimizer).items():
        if value is not optimizer.param_groups and value is not optimizer.state:
            yield from ((name + place, p, tensor) for place, p, tensor in _matched(value, groups))


def _matched(value: Any, groups: list[list[Tensor]], depth: int = DEPTH) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The tensors in a container beside the parameters that they belong to, by their order, number and sizes."""
    everything = [p for group in groups for p in group]
    items = _items(value)
    by_group = list(zip(groups, items, strict=True)) if len(items) == len(groups) else []
    pairs = _in_order(value, everything)
    if pairs := pairs or [pair for group, (_, entry) in by_group for pair in _in_order(entry, group)]:
        yield from (("", p, tensor) for p, tensor in pairs)
        return
    by_key = dict(items)
    of_each = [(p, by_key[id(p)]) for p in everything if id(p) in by_key]
    if not of_each and len(items) == len(everything):
        in_order = [(p, entry) for p, (_, entry) in zip(everything, items, strict=True)]
        if all(local(t).numel() == local(p).numel() for p, entry in in_order for _, t in _tensors(entry)):
            of_each = in_order
    if of_each:
        yield from ((place, p, tensor) for p, entry in of_each for place, tensor in _tensors(entry))
    elif depth:  # such as a list of snapshots, or a dict of several lists
        for key, entry in items:
            yield from ((f"[{key}]{place}", p, t) for place, p, t in _matched(entry, groups, depth - 1))


def _in_order(value: Any, parameters: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Parameters, or those that are trained, and their tensors: one each in the same order, or a flat one of all."""
    tensors = [tensor for _, tensor in _tensors(value)]
    for chosen in (parameters, [p for p in parameters if p.requires_grad]):
        sizes = [local(p).numel() for p in chosen]
        flat = tensors[0] if len(tensors) == 1 else None
        if flat is not None and flat.ndim == 1 and len(sizes) > 1 and flat.numel() == sum(sizes):
            return list(zip(chosen, local(flat).split(sizes), strict=True))
        if sizes == [local(tensor).numel() for tensor in tensors]:
            return list(zip(chosen, tensors, strict=True))
    return []


def _tensors(value: Any, depth: int = DEPTH) -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested containers, and where they stand there."""
    if isinstance(value, Tensor):
        yield "", value
    elif depth:
        for key, entry in _items(value):
            yield from ((f"[{key}]{place}", tensor) for place, tensor in _tensors(entry, depth - 1))


def _items(value: Any) -> list[tuple[Any, Any]]:
    """What a container holds, by key or number; a parameter as key is its ``id``."""
    if isinstance(value, Mapping):
        value = value.get("params", value)  # of a group of parameters
    if isinstance(value, Mapping):
        return [(id(key) if isinstance(key, Tensor) else key, entry) for key, entry in value.items()]
    return list(enumerate(value)) if isinstance(value, list | tuple | deque) else []


def _alike(tensor: Tensor, parameter: Tensor) -> Tensor | None:
    """A tensor in a parameter's shape; None if it is no copy of what lies here of it."""
    if not tensor.is_floating_point() or tensor.layout != torch.strided:
        return None
    if is_sharded(tensor):
        same = is_sharded(parameter) and tensor.placements == parameter.placements  # type: ignore[attr-defined]
        return tensor if same and tensor.shape == parameter.shape else None
    shape = local(parameter).shape
    if tensor.shape == shape:
        return tensor
    return tensor.view(shape) if tensor.numel() == shape.numel() and tensor.is_contiguous() else None


def _place(tensor: Tensor) -> tuple[int, int]:
    here = local(tensor)
    try:
        first = here.data_ptr()
    except RuntimeError:  # of a subclass without a storage of its own
        first = 0
    return (first, here.numel()) if first else (id(tensor), here.numel())
