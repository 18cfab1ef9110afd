"""A batch of training windows: past states and targets of B windows of one graph, read a tile at a time.

Legend: ``windows`` B, ``tensors`` T parameter tensors of the graph; a tile has ``sources`` x ``targets`` edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nino.graphs import Block, NeuralGraph
from nino.nowcasters.engines.tiles import Tile, parameter_indices
from nino.nowcasters.scaling import ScalingMode, window_scales


@dataclass(frozen=True)
class Batch:
    """What the passes of a loss read besides nodes and weights.

    Args:
        states: the windows' inputs.
        targets: the states after them.
        mask: where targets exist; None where all do.
        mean: of each parameter tensor's states.
        divisor: what its centred states are divided by.
        column: that of a block's parameter in ``mean`` and ``divisor``, by the offset of the block's first weight.
    """

    states: Float[Tensor, "windows params states"]
    targets: Float[Tensor, "windows params horizons"]
    mask: Bool[Tensor, "windows 1 1 1 horizons"] | None
    mean: Float[Tensor, "windows tensors"]
    divisor: Float[Tensor, "windows tensors"]
    column: dict[int, int]

    @classmethod
    def of(
        cls,
        graph: NeuralGraph,
        states: Float[Tensor, "windows params states"],
        targets: Float[Tensor, "windows params horizons"],
        mask: Bool[Tensor, "windows horizons"],
        scaling: ScalingMode,
    ) -> Batch:
        """Measure the windows' scales."""
        mean, divisor = window_scales(states, graph.parameters, scaling)
        some = None if bool(mask.all()) else mask[:, None, None, None]
        return cls(states, targets, some, mean, divisor, parameter_indices(graph))

    @property
    def windows(self) -> int:
        """B."""
        return self.states.shape[0]

    def window(
        self, values: Float[Tensor, "windows params columns"], block: Block, tile: Tile
    ) -> Float[Tensor, "windows sources targets features columns"]:
        """A tile's part of values of all parameters, without copying."""
        assert block.weight is not None
        batch, row, column = values.stride()
        s, t, f = block.weight.strides
        return values.as_strided(
            (values.shape[0], *tile.shape, block.features, values.shape[2]),
            (batch, s * row, t * row, f * row, column),
            values.storage_offset() + tile.first_weight(block) * row,
        )

    def scale(self, block: Block) -> tuple[Float[Tensor, "windows 1 1 1 1"], Float[Tensor, "windows 1 1 1 1"]]:
        """Mean and divisor of a block's parameter."""
        assert block.weight is not None
        column = self.column[block.weight.offset]
        return self.mean[:, column, None, None, None, None], self.divisor[:, column, None, None, None, None]

    def features(self, block: Block, tile: Tile) -> Float[Tensor, "windows edges inputs"] | None:
        """u_0 of a tile, its scaled states; None for auxiliary blocks."""
        if block.weight is None:
            return None
        mean, divisor = self.scale(block)
        window = self.window(self.states, block, tile)
        # a difference without ``out`` would keep the window's order of strides, and every later step would pay for it
        scaled = torch.sub(window, mean, out=window.new_empty(window.shape)).div_(divisor)
        return scaled.flatten(3).flatten(1, 2)

    def error(
        self,
        hidden: Float[Tensor, "*rows hidden"],
        weight: Float[Tensor, "outputs hidden"],
        bias: Float[Tensor, " outputs"],
        block: Block,
        tile: Tile,
    ) -> Float[Tensor, ""]:
        """Sum of absolute errors of a tile's scaled updates, ``weight @ hidden + bias``.

        Args:
            hidden: rows whose updates are the values (windows sources targets features horizons) in this order.
            weight: of the last layer, its outputs features x horizons, or horizons where each position is a row.
            bias: of the last layer.
            block: the tile's block.
            tile: the tile.
        """
        last = self.window(self.states, block, tile)[..., -1:]
        targets = self.window(self.targets, block, tile)
        change = torch.sub(targets, last, out=targets.new_empty(targets.shape))
        offset = bias.detach().view(-1, targets.shape[-1])
        torch.addcdiv(offset, change, self.scale(block)[1], value=-1, out=change)
        return _AbsoluteError.apply(hidden.flatten(0, -2), weight, bias, change, self.mask)


class _AbsoluteError(torch.autograd.Function):
    """Sum of masked absolute values of ``weight @ hidden + offset``: the widest layer, of which only signs are kept.

    ``offset``, the bias minus the wanted update, is overwritten; the gradient to the bias is the sum of signs.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, offset: Tensor, mask: Tensor | None) -> Tensor:
        rows = offset.view(-1, len(weight))
        if hidden.dtype == rows.dtype:
            rows.addmm_(hidden, weight.T)
        else:
            rows.add_(hidden @ weight.T)
        if mask is not None:
            offset.masked_fill_(~mask, 0.0)
        total = torch.linalg.vector_norm(offset, 1)
        ctx.sign = rows.sign_()
        ctx.save_for_backward(hidden, weight)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        hidden, weight = ctx.saved_tensors
        sign = ctx.sign.to(hidden.dtype)
        to_hidden = sign @ (weight * grads[0]).to(hidden.dtype)
        to_weight = (sign.T @ hidden).to(weight.dtype) * grads[0]
        return to_hidden, to_weight, ctx.sign.sum(0) * grads[0], None, None
