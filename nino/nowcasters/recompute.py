"""Autograd over tiles: a pass keeps its node-sized inputs only and runs a tile again when its gradient is asked for.

Shape legend: B windows, N nodes, d hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor

from nino.graphs.core import Block
from nino.nowcasters.fold import Tile, within


class Work(Protocol):
    """What the autograd functions below need of a pass; ``nino.nowcasters.training.Pass`` documents each."""

    @property
    def blocks(self) -> list[Block]: ...  # noqa: D102
    @property
    def num_nodes(self) -> int: ...  # noqa: D102
    def precision(self) -> AbstractContextManager[Any]: ...  # noqa: D102
    def tiles(self, block: Block) -> list[Tile]: ...  # noqa: D102
    def slices(self, block: Block, tile: Tile) -> list[slice]: ...  # noqa: D102
    def run(self, block: Block, tile: Tile, nodes: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor: ...  # noqa: D102


class _Aggregate(torch.autograd.Function):
    """Sums of messages (B, N, d) of one pass; backward runs the tiles again."""

    @staticmethod
    def forward(ctx: Any, work: Work, *tensors: Tensor) -> Tensor:
        passed = _Gradients(work, tensors)
        out = torch.zeros_like(passed.nodes[-1])
        for block in work.blocks:
            for tile in work.tiles(block):
                out[:, within(block.target, tile.target)] += passed.value(block, tile)
        ctx.work = work
        ctx.save_for_backward(*tensors)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        work: Work = ctx.work
        collected = _Gradients(work, ctx.saved_tensors)
        for block in work.blocks:
            for tile in work.tiles(block):
                collected.add(block, tile, grads[0][:, within(block.target, tile.target)])
        return None, *collected.result()


class _Errors(torch.autograd.Function):
    """Sum of absolute errors over all tiles; gradients are taken in forward, while a tile is at hand."""

    @staticmethod
    def forward(ctx: Any, work: Work, *tensors: Tensor) -> Tensor:
        collected = _Gradients(work, tensors)
        total = torch.zeros((), dtype=tensors[-1].dtype, device=tensors[-1].device)
        for block in work.blocks:
            for tile in work.tiles(block):
                total += collected.add(block, tile)
        ctx.gradients = collected.result()
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, *(gradient * grads[0] for gradient in ctx.gradients)


class _Gradients:
    """Gradients of a pass to its node tensors and weights, added up tile by tile."""

    def __init__(self, work: Work, tensors: Sequence[Tensor]) -> None:
        self.work = work
        self.nodes = [t.detach() for t in tensors[: work.num_nodes]]
        self.gradients = [torch.zeros_like(t) for t in self.nodes]
        self.weights = [t.detach().requires_grad_() for t in tensors[work.num_nodes :]]

    def add(self, block: Block, tile: Tile, gradient: Tensor | None = None) -> Tensor:
        """Run a tile with a graph of its own and take its gradient; returns its value."""
        places = self.work.slices(block, tile)
        parts = [t[:, at].detach().requires_grad_() for t, at in zip(self.nodes, places, strict=True)]
        with torch.enable_grad(), self.work.precision():
            value = self.work.run(block, tile, parts, self.weights)
        torch.autograd.backward(value, gradient)
        for total, part, at in zip(self.gradients, parts, places, strict=True):
            if part.grad is not None:
                total[:, at] += part.grad
        return value.detach()

    def value(self, block: Block, tile: Tile) -> Tensor:
        """Run a tile without a graph."""
        parts = [t[:, at] for t, at in zip(self.nodes, self.work.slices(block, tile), strict=True)]
        with torch.no_grad(), self.work.precision():
            return self.work.run(block, tile, parts, self.weights)

    def result(self) -> list[Tensor]:
        """Gradients in the order of the tensors."""
        return [*self.gradients, *(torch.zeros_like(w) if w.grad is None else w.grad for w in self.weights)]


def sum_errors(work: Work, *tensors: Tensor) -> Tensor:
    """Sum of a pass' absolute errors, with gradients to its node tensors and weights."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return _Errors.apply(work, *tensors)
    passed = _Gradients(work, tensors)
    return torch.stack([passed.value(block, tile) for block in work.blocks for tile in work.tiles(block)]).sum()


def sum_messages(work: Work, *tensors: Tensor) -> Tensor:
    """Sums of messages (B, N, d), with gradients to the pass' node tensors and weights."""
    return _Aggregate.apply(work, *tensors)
