"""Autograd over tiles: a pass keeps its node-sized inputs and runs a tile again when its gradient is asked for.

Small graphs need not be that frugal: the autograd graphs of the first tiles are kept, up to a number of edges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import Block
from nino.nowcasters.engines.batch import Batch
from nino.nowcasters.engines.tiles import Tile, within


@dataclass(frozen=True)
class Autocast:
    """The mixed precision that a loss was called under, to be entered again for gradients."""

    device: str
    dtype: torch.dtype
    enabled: bool

    @classmethod
    def current(cls, device: torch.device) -> Autocast:
        """What is in force now."""
        kind = device.type
        return cls(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))

    def enter(self) -> AbstractContextManager[Any]:
        """The same again."""
        return torch.autocast(self.device, dtype=self.dtype, enabled=self.enabled)


@dataclass(frozen=True)
class Pass(ABC):
    """One pass over the blocks: how they are cut into tiles, and what is computed on a tile.

    Args:
        batch: states and targets.
        blocks: those that are streamed.
        rows: edges times windows in a tile.
        autocast: the mixed precision that the loss was called under.
    """

    batch: Batch
    blocks: list[Block]
    rows: int
    autocast: Autocast

    @property
    def num_nodes(self) -> int:
        """Node tensors that the pass reads; what follows them are weights."""
        return 0

    def slices(self, block: Block, tile: Tile) -> list[slice]:
        """Where each node tensor is read."""
        return []

    @abstractmethod
    def tiles(self, block: Block) -> list[Tile]:
        """The block's tiles, small enough for all windows together."""

    @abstractmethod
    def run(self, block: Block, tile: Tile, nodes: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        """Messages summed at a tile's targets (windows targets hidden), or the sum of its absolute errors."""


@dataclass(frozen=True)
class _Run:
    """A tile that was run with an autograd graph of its own.

    Args:
        places: where its node tensors were read.
        parts: what was read there, as leaves.
        value: the result.
    """

    places: list[slice]
    parts: list[Tensor]
    value: Tensor


class _Aggregate(torch.autograd.Function):
    """Sums of messages of one pass; backward runs those tiles again whose graphs were not kept."""

    @staticmethod
    def forward(ctx: Any, work: Pass, room: int, *tensors: Tensor) -> Tensor:
        passed = _Gradients(work, tensors)
        out = torch.zeros_like(passed.nodes[-1])
        runs = []
        for block, tile in _tiles(work):
            room -= len(out) * tile.num_edges
            if room >= 0:
                runs.append(passed.run(block, tile))
            value = runs[-1].value.detach() if room >= 0 else passed.value(block, tile)
            out[:, within(block.target, tile.target)] += value
        ctx.work, ctx.passed, ctx.runs = work, passed, iter(runs)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        collected: _Gradients = ctx.passed
        for block, tile in _tiles(ctx.work):
            run = next(ctx.runs, None) or collected.run(block, tile)
            collected.take(run, grads[0][:, within(block.target, tile.target)])
        return None, None, *collected.result()


class _Errors(torch.autograd.Function):
    """Sum of absolute errors over all tiles; gradients are taken in forward, while a tile is at hand."""

    @staticmethod
    def forward(ctx: Any, work: Pass, *tensors: Tensor) -> Tensor:
        collected = _Gradients(work, tensors)
        total = torch.zeros((), dtype=tensors[-1].dtype, device=tensors[-1].device)
        for block, tile in _tiles(work):
            run = collected.run(block, tile)
            collected.take(run)
            total += run.value.detach()
        ctx.gradients = collected.result()
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, *(gradient * grads[0] for gradient in ctx.gradients)


class _Gradients:
    """Gradients of a pass to its node tensors and weights, added up tile by tile."""

    def __init__(self, work: Pass, tensors: Sequence[Tensor]) -> None:
        self.work = work
        self.nodes = [t.detach() for t in tensors[: work.num_nodes]]
        self.gradients = [torch.zeros_like(t) for t in self.nodes]
        self.weights = [t.detach().requires_grad_() for t in tensors[work.num_nodes :]]

    def run(self, block: Block, tile: Tile) -> _Run:
        """Run a tile with a graph of its own."""
        places = self.work.slices(block, tile)
        parts = [t[:, at].detach().requires_grad_() for t, at in zip(self.nodes, places, strict=True)]
        with torch.enable_grad(), self.work.autocast.enter():
            return _Run(places, parts, self.work.run(block, tile, parts, self.weights))

    def take(self, run: _Run, gradient: Tensor | None = None) -> None:
        """Add a tile's gradient."""
        torch.autograd.backward(run.value, gradient)
        for total, part, at in zip(self.gradients, run.parts, run.places, strict=True):
            if part.grad is not None:
                total[:, at] += part.grad

    def value(self, block: Block, tile: Tile) -> Tensor:
        """Run a tile without a graph."""
        parts = [t[:, at] for t, at in zip(self.nodes, self.work.slices(block, tile), strict=True)]
        with torch.no_grad(), self.work.autocast.enter():
            return self.work.run(block, tile, parts, self.weights)

    def result(self) -> list[Tensor]:
        """Gradients in the order of the tensors."""
        return [*self.gradients, *(torch.zeros_like(w) if w.grad is None else w.grad for w in self.weights)]


def _tiles(work: Pass) -> Iterator[tuple[Block, Tile]]:
    """All tiles of a pass."""
    return ((block, tile) for block in work.blocks for tile in work.tiles(block))


def _differentiable(tensors: Sequence[Tensor]) -> bool:
    """Whether gradients will be asked for."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def sum_errors(work: Pass, *tensors: Tensor) -> Float[Tensor, ""]:
    """Sum of a pass' absolute errors, with gradients to its node tensors and weights."""
    if _differentiable(tensors):
        return _Errors.apply(work, *tensors)
    passed = _Gradients(work, tensors)
    return torch.stack([passed.value(block, tile) for block, tile in _tiles(work)]).sum()


def sum_messages(work: Pass, room: int, *tensors: Tensor) -> Float[Tensor, "windows nodes hidden"]:
    """Sums of messages at every node, with gradients to the pass' node tensors and weights.

    Args:
        work: the pass.
        room: edges times windows whose graphs may be kept for backward.
        tensors: node tensors, then weights.
    """
    return _Aggregate.apply(work, room if _differentiable(tensors) else 0, *tensors)
