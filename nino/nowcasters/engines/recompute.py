"""Autograd over tiles: a pass keeps its node-sized inputs and runs a tile again when its gradient is asked for.

Small graphs need not be that frugal: the autograd graphs of the first tiles are kept, up to a number of edges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import Block
from nino.nowcasters.engines.batch import Batch
from nino.nowcasters.engines.tiles import Tile, within
from nino.threads import Workers


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
        threads: that each run whole tiles, on a CPU.
    """

    batch: Batch
    blocks: list[Block]
    rows: int
    autocast: Autocast
    threads: int

    @property
    def num_nodes(self) -> int:
        """Node tensors that the pass reads; what follows them are weights."""
        return 0

    def slices(self, block: Block, tile: Tile) -> list[slice]:
        """Where each node tensor is read."""
        return []

    def workers(self) -> Workers:
        """Who runs tiles."""
        return Workers(self.threads, self.batch.states.device)

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
        edges = accumulate(tile.num_edges for _, tile in _tiles(work))
        kept = sum(len(out) * count <= room for count in edges)

        def run(numbered: tuple[int, tuple[Block, Tile]]) -> tuple[slice, Tensor, _Run | None]:
            number, (block, tile) = numbered
            run = passed.run(block, tile) if number < kept else None
            value = passed.value(block, tile) if run is None else run.value.detach()
            return within(block.target, tile.target), value, run

        runs: list[_Run] = []

        def take(done: tuple[slice, Tensor, _Run | None]) -> None:
            out[:, done[0]] += done[1]
            if done[2] is not None:
                runs.append(done[2])

        with work.workers() as workers:
            workers.reduce(run, enumerate(_tiles(work)), take)
        ctx.work, ctx.passed, ctx.runs = work, passed, runs
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        passed, runs, gradient = ctx.passed, iter(ctx.runs), grads[0]
        ctx.runs = []  # each is freed when its gradient has been taken

        def take(job: tuple[Block, Tile, _Run | None]) -> _Taken:
            block, tile, run = job
            return passed.take(run or passed.run(block, tile), gradient[:, within(block.target, tile.target)])

        jobs = ((block, tile, next(runs, None)) for block, tile in _tiles(ctx.work))
        with ctx.work.workers() as workers:
            workers.reduce(take, jobs, passed.add)
        return None, None, *passed.result()


class _Errors(torch.autograd.Function):
    """Sum of absolute errors over all tiles; gradients are taken in forward, while a tile is at hand."""

    @staticmethod
    def forward(ctx: Any, work: Pass, *tensors: Tensor) -> Tensor:
        collected = _Gradients(work, tensors)
        total = torch.zeros((), dtype=tensors[-1].dtype, device=tensors[-1].device)

        def run(place: tuple[Block, Tile]) -> tuple[Tensor, _Taken]:
            run = collected.run(*place)
            return run.value.detach(), collected.take(run)

        def take(done: tuple[Tensor, _Taken]) -> None:
            total.add_(done[0])
            collected.add(done[1])

        with work.workers() as workers:
            workers.reduce(run, _tiles(work), take)
        ctx.gradients = collected.result()
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, *(gradient * grads[0] for gradient in ctx.gradients)


@dataclass(frozen=True)
class _Taken:
    """A tile's gradients: to node tensors at their places, and to weights; None where there is none."""

    places: list[slice]
    parts: list[Tensor | None]
    weights: list[Tensor | None]


class _Gradients:
    """Gradients of a pass to its node tensors and weights, added up tile by tile."""

    def __init__(self, work: Pass, tensors: Sequence[Tensor]) -> None:
        self.work = work
        self.nodes = [t.detach() for t in tensors[: work.num_nodes]]
        self.weights = [t.detach().requires_grad_() for t in tensors[work.num_nodes :]]
        self.gradients = [torch.zeros_like(t) for t in (*self.nodes, *self.weights)]

    def run(self, block: Block, tile: Tile) -> _Run:
        """Run a tile with a graph of its own."""
        places = self.work.slices(block, tile)
        parts = [t[:, at].detach().requires_grad_() for t, at in zip(self.nodes, places, strict=True)]
        with torch.enable_grad(), self.work.autocast.enter():
            return _Run(places, parts, self.work.run(block, tile, parts, self.weights))

    def take(self, run: _Run, gradient: Tensor | None = None) -> _Taken:
        """A tile's gradient."""
        found = torch.autograd.grad(run.value, [*run.parts, *self.weights], gradient, allow_unused=True)
        return _Taken(run.places, list(found[: len(run.parts)]), list(found[len(run.parts) :]))

    def add(self, taken: _Taken) -> None:
        """Add it."""
        for total, part, at in zip(self.gradients, taken.parts, taken.places, strict=False):
            if part is not None:
                total[:, at] += part
        for total, weight in zip(self.gradients[len(self.nodes) :], taken.weights, strict=True):
            if weight is not None:
                total += weight

    def value(self, block: Block, tile: Tile) -> Tensor:
        """Run a tile without a graph."""
        parts = [t[:, at] for t, at in zip(self.nodes, self.work.slices(block, tile), strict=True)]
        with torch.no_grad(), self.work.autocast.enter():
            return self.work.run(block, tile, parts, self.weights)

    def result(self) -> list[Tensor]:
        """Gradients in the order of the tensors."""
        return [t.detach() for t in self.gradients]


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
    with work.workers() as workers:
        return torch.stack(list(workers.map(lambda place: passed.value(*place), _tiles(work)))).sum()


def sum_messages(work: Pass, room: int, *tensors: Tensor) -> Float[Tensor, "windows nodes hidden"]:
    """Sums of messages at every node, with gradients to the pass' node tensors and weights.

    Args:
        work: the pass.
        room: edges times windows whose graphs may be kept for backward.
        tensors: node tensors, then weights.
    """
    return _Aggregate.apply(work, room if _differentiable(tensors) else 0, *tensors)
