"""Where a block lies: its part of a tensor over all parameters, and the nodes that its edges join."""

from __future__ import annotations

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from nino.graphs.core import Block


def window(values: Shaped[Tensor, "params ..."], block: Block) -> Shaped[Tensor, "*_"]:
    """A block's part of a tensor over the flat parameter vector, without copying.

    Args:
        values: contiguous.
        block: a block with weights.

    Returns:
        A view ``(sources targets features *columns)`` of a dense block, ``(sources features *columns)`` of a diagonal
        one.

    Raises:
        ValueError: for an auxiliary block.
    """
    if block.weight is None:
        raise ValueError(f"block {block.name!r} holds auxiliary edges: no parameters lie on it")
    inner = values[:1].numel()
    source, target, position = (stride * inner for stride in block.weight.strides)
    sizes: tuple[int, ...] = (block.source.size, block.target.size, block.features)
    strides: tuple[int, ...] = (source, target, position)
    if block.kind == "diagonal":
        sizes, strides = (sizes[0], sizes[2]), (source, position)
    offset = values.storage_offset() + block.weight.offset * inner
    return values.as_strided(sizes + values.shape[1:], strides + values.stride()[1:], offset)


def ends(block: Block) -> tuple[Int[Tensor, "*edges"], Int[Tensor, "*edges"]]:
    """Source and target of a block's edges: (sources targets), or (sources) of a diagonal block."""
    source = torch.arange(block.source.start, block.source.stop)
    target = torch.arange(block.target.start, block.target.stop)
    if block.kind == "diagonal":
        return source, target
    shape = (block.source.size, block.target.size)
    return source.unsqueeze(1).expand(shape), target.expand(shape)
