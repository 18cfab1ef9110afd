"""From a prediction to the parameters: checked as a whole, then written into their own storage, on every rank alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

Group = Any  # torch.distributed.ProcessGroup, a name that builds without distributed support lack


@contextmanager
def same_rng() -> Iterator[None]:
    """Leave the global random number generators as they were: a run with nowcasts draws what a run without draws."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        yield


def world(group: Group) -> tuple[int, int]:
    """This process's rank in ``group`` and the number of ranks; (0, 1) where nothing is distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(group), dist.get_world_size(group)
    return 0, 1


def agree(value: Any, group: Group) -> Any:
    """Rank 0's ``value`` on every rank."""
    if world(group)[1] == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, group_src=0, group=group)
    return box[0]


def mean_over_ranks(value: float, group: Group) -> float:
    """The mean of ``value`` over the ranks, the same number on each."""
    size = world(group)[1]
    if size == 1:
        return value
    values: list[Any] = [None] * size
    dist.all_gather_object(values, value, group=group)
    return sum(values) / size


@dataclass
class Target:
    """A parameter that nowcasts write, and where it lies in the flat vector."""

    parameter: Tensor
    offset: int

    @property
    def part(self) -> slice:
        """Its slice of the flat vector."""
        return slice(self.offset, self.offset + self.parameter.numel())


@dataclass
class Jump:
    """A predicted change of the parameters.

    Args:
        prediction: (P,) float32 predicted parameters.
        last: (P,) the last saved state, as the nowcaster saw it; None where it equals the parameters exactly.
        scale: factor on the change: 1 takes the prediction, 0 keeps the last state exactly.
    """

    prediction: Tensor
    last: Tensor | None
    scale: float = 1.0

    def value(self, target: Target) -> Tensor:
        """The new value of one parameter in its own shape and dtype, rounded once."""
        present = target.parameter.detach()
        if self.scale == 0:
            return present
        wide = torch.promote_types(present.dtype, torch.float32)
        predicted = self.prediction[target.part].to(present.device).view(present.shape)
        if self.scale == 1 and self.last is None:
            return predicted.to(present.dtype)
        start = present.to(wide)
        seen = start if self.last is None else self.last[target.part].to(present.device, wide).view(present.shape)
        return (start + self.scale * (predicted.to(wide) - seen)).to(present.dtype)

    def measure(self, targets: list[Target]) -> tuple[bool, float]:
        """Whether every new value is finite, and the L2 norm of the change."""
        finite, square = True, 0.0
        for target in targets:
            new = self.value(target)
            finite = finite and bool(new.isfinite().all())
            change = new.to(torch.float32) - target.parameter.detach().to(torch.float32)
            square += float(torch.linalg.vector_norm(change, dtype=torch.float64)) ** 2
        return finite, square**0.5


@torch.no_grad()
def write(jump: Jump | None, targets: list[Target], group: Group = None) -> None:
    """Write a jump into the parameters; every rank ends with rank 0's values.

    Args:
        jump: rank 0's jump; None on the others.
        targets: parameters to write, the same on every rank.
        group: process group; None is the default one.
    """
    distributed = world(group)[1] > 1
    for target in targets:
        parameter = target.parameter.detach()
        new = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
        if jump is not None:
            new.copy_(jump.value(target))
        if distributed:
            dist.broadcast(new, group_src=0, group=group)
        target.parameter.copy_(new)  # in place: storage, dtype and memory format stay


@torch.no_grad()
def snapshot(targets: list[Target]) -> Callable[[], None]:
    """Copy the parameters; calling the result puts them back, bit for bit."""
    saved = [t.parameter.detach().clone() for t in targets]

    @torch.no_grad()
    def restore() -> None:
        for target, value in zip(targets, saved, strict=True):
            target.parameter.copy_(value)

    return restore


def loss_of(model: nn.Module, closure: Callable[[], Any], *, grad: bool, group: Group = None) -> float:
    """The loss a closure returns, leaving random numbers and the model's buffers (batch statistics) untouched.

    Args:
        model: whose buffers are put back.
        closure: returns the loss, a number or a tensor of one element.
        grad: whether the closure runs ``backward`` itself.
        group: over whose ranks the loss is averaged.

    Raises:
        ValueError: if the closure returns something that is no number.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with same_rng(), torch.set_grad_enabled(grad):
        loss = closure()
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    if isinstance(loss, Tensor) and loss.numel() == 1:
        loss = loss.item()
    if not isinstance(loss, int | float):
        raise ValueError(
            f"the loss closure returned a {type(loss).__name__}: it must return the loss, a number or scalar"
        )
    return mean_over_ranks(float(loss), group)
