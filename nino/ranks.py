"""Processes that work together on one training or one fit, and what they say to each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nino.device import use_accelerator

T = TypeVar("T")


class OthersFailedError(RuntimeError):
    """Other processes could not do their part of what all do together; says which and why."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that work together; the default is a process on its own.

    Args:
        rank: number of this process, from 0.
        world: how many processes there are.
        group: the ``torch.distributed.ProcessGroup`` that they form; None is the default one.
    """

    rank: int = 0
    world: int = 1
    group: Any = None  # builds without distributed support lack the class

    @classmethod
    def of(cls, group: Any = None) -> Ranks:
        """This process in a process group; on its own where ``torch.distributed`` is not in use."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(group), dist.get_world_size(group), group)
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, the one that writes files and computes what all share."""
        return self.rank == 0

    def mine(self, items: Sequence[T]) -> list[T]:
        """This process's part: every ``world``-th item.

        >>> [Ranks(rank, 2).mine("abcd") for rank in range(2)]
        [['a', 'c'], ['b', 'd']]
        """
        return list(items[self.rank :: self.world])

    def cut(self, size: int) -> slice:
        """This process's part of ``size`` things in a row.

        >>> [Ranks(rank, 2).cut(5) for rank in range(2)]
        [slice(0, 2, None), slice(2, 5, None)]
        """
        return slice(size * self.rank // self.world, size * (self.rank + 1) // self.world)

    def from_first(self, make: Callable[[], T]) -> T:
        """What ``make`` returns in rank 0, the only one that calls it, in every process; see ``agree``."""
        if self.world == 1:
            return make()
        box: list[T | None] = [make() if self.leads else None]
        self.agree(None)
        dist.broadcast_object_list(box, group_src=0, group=self.group)
        return box[0]  # type: ignore[return-value]

    def broadcast(self, tensor: Tensor) -> None:
        """Give ``tensor`` rank 0's values, in place, in every process."""
        if self.world > 1:
            dist.broadcast(tensor, group_src=0, group=self.group)

    def gather(self, value: T) -> list[T]:
        """Every process's value, in the order of ranks, in every process."""
        if self.world == 1:
            return [value]
        values: list[T | None] = [None] * self.world
        dist.all_gather_object(values, value, group=self.group)
        return values  # type: ignore[return-value]

    def to_first(self, value: T) -> list[T] | None:
        """Every process's value, in the order of ranks, in rank 0; None in the others."""
        if self.world == 1:
            return [value]
        values: list[T | None] | None = [None] * self.world if self.leads else None
        dist.gather_object(value, values, group_dst=0, group=self.group)
        return values  # type: ignore[return-value]

    def agree(self, value: T) -> list[T]:
        """``gather`` for work that may fail: a process that could not do its part calls ``fail`` in place of this.

        Raises:
            OthersFailedError: in every process that got here, where another one did not.
        """
        said = self.gather((None, value))
        failed = [f"rank {rank}: {failure}" for rank, (failure, _) in enumerate(said) if failure is not None]
        if failed:
            raise OthersFailedError("; ".join(failed))
        return [value for _, value in said]

    def fail(self, error: Exception) -> bool:
        """Tell the processes that wait in ``agree`` why this one does not come; whether any of them did its part."""
        if isinstance(error, OthersFailedError):  # they know
            return True
        said = self.gather((f"{type(error).__name__}: {error}", None))
        return any(failure is None for failure, _ in said)

    def add_up(self, tensor: Tensor) -> Tensor:
        """Put the sum over all processes into ``tensor``, once all have got here; see ``agree``."""
        if self.world > 1:
            self.agree(None)
            dist.all_reduce(tensor, group=self.group)
        return tensor

    def sum_gradients(self, net: nn.Module, loss: float) -> float:
        """Add up the gradients of all processes, in place, and their losses.

        A parameter that has a gradient in no process keeps none, so that an optimizer leaves it alone as it does in a
        single process.

        Args:
            net: the same network in every process.
            loss: of this process's part.

        Returns:
            The sum of the losses; not finite wherever one of them is not.
        """
        if self.world == 1:
            return loss
        parameters = list(net.parameters())
        device = parameters[0].device
        there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=device)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([*(g.flatten() for g in grads), there, torch.tensor([loss], device=device)])
        dist.all_reduce(flat, group=self.group)
        parts = flat.split([*(p.numel() for p in parameters), len(parameters), 1])
        anywhere = parts[-2].tolist()
        for parameter, part, count in zip(parameters, parts, anywhere, strict=False):
            parameter.grad = part.view_as(parameter).clone() if count else None
        return parts[-1].item()


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the processes that ``torchrun`` started, if it was torchrun that started this one.

    Args:
        device: ``cpu`` (processes talk through gloo) or an accelerator (each process takes that of its local rank, and
            they talk through its own backend: nccl on CUDA).

    Yields:
        This process's place among them, and its device.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks(), torch.device(device)
        return
    place = use_accelerator(torch.device(device), int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(dist.get_default_backend_for_device(place))
    try:
        yield Ranks.of(), place
    finally:
        dist.destroy_process_group()
