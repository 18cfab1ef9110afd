"""Training windows: the states and targets that B windows of one graph bring, read a tile at a time.

Shape legend: B windows, P parameters, T parameter tensors, F kernel positions, H horizons; a tile has n = a x b edges.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nino.graphs.core import Block
from nino.nowcasters.fold import Tile, owners
from nino.nowcasters.scaling import ScalingMode, window_scales

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.base import Nowcaster


def check_windows(net: Nowcaster, graph: NeuralGraph, states: Tensor, targets: Tensor, mask: Tensor) -> None:
    """Raise for windows that do not fit each other, the graph or the nowcaster.

    Raises:
        ValueError: names the argument with its shape and the expected one, or says that the mask is empty.
    """
    windows, horizons = states.shape[0], mask.shape[-1]
    wanted = {
        "states": (states, (windows, graph.num_parameters, net.context)),
        "targets": (targets, (windows, graph.num_parameters, horizons)),
        "mask": (mask, (windows, min(horizons, net.max_horizon or horizons))),
    }
    for name, (tensor, shape) in wanted.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"`{name}` has shape {tuple(tensor.shape)}, expected {shape}")
    if not bool(mask.any()):
        raise ValueError("`mask` is False everywhere: there is no target to learn from")


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
class Batch:
    """What the passes read besides nodes and weights.

    Args:
        states: (B, P, c).
        targets: (B, P, H).
        mask: (B, 1, 1, 1, H); None where every target exists.
        mean: (B, T), a column for each parameter tensor.
        divisor: (B, T).
        owner: a block's column, by the offset of its window.
    """

    states: Tensor
    targets: Tensor
    mask: Tensor | None
    mean: Tensor
    divisor: Tensor
    owner: dict[int, int]

    @classmethod
    def of(cls, graph: NeuralGraph, states: Tensor, targets: Tensor, mask: Tensor, scaling: ScalingMode) -> Batch:
        """Measure the windows' scales."""
        mean, divisor = window_scales(states, graph.parameters, scaling)
        some = None if bool(mask.all()) else mask[:, None, None, None]
        return cls(states, targets, some, mean, divisor, owners(graph))

    @property
    def windows(self) -> int:
        """B."""
        return self.states.shape[0]

    def window(self, values: Tensor, block: Block, tile: Tile) -> Tensor:
        """A tile's part (B, a, b, F, m) of values (B, P, m)."""
        assert block.weight is not None
        batch, row, column = values.stride()
        s, t, f = block.weight.strides
        start = block.weight.offset + tile.source.start * s + (0 if tile.paired else tile.target.start * t)
        return values.as_strided(
            (values.shape[0], *tile.shape, block.features, values.shape[2]),
            (batch, s * row, t * row, f * row, column),
            values.storage_offset() + start * row,
        )

    def scale(self, block: Block) -> tuple[Tensor, Tensor]:
        """Mean and divisor (B, 1, 1, 1, 1) of a block's parameter."""
        assert block.weight is not None
        column = self.owner[block.weight.offset]
        return self.mean[:, column, None, None, None, None], self.divisor[:, column, None, None, None, None]

    def features(self, block: Block, tile: Tile) -> Tensor | None:
        """u_0 of a tile (B, n, F*c); None for auxiliary blocks."""
        if block.weight is None:
            return None
        mean, divisor = self.scale(block)
        window = self.window(self.states, block, tile)
        # a difference without ``out`` would keep the window's order of strides, and every later step would pay for it
        scaled = torch.sub(window, mean, out=window.new_empty(window.shape)).div_(divisor)
        return scaled.flatten(3).flatten(1, 2)

    def error(self, hidden: Tensor, weight: Tensor, bias: Tensor, block: Block, tile: Tile) -> Tensor:
        """Sum of absolute errors of a tile's scaled updates, ``weight @ hidden + bias``.

        Args:
            hidden: (..., d), rows whose updates are B*a*b*F*H values in this order.
            weight: (m, d).
            bias: (m,), m = F*H or H.
            block: the tile's block.
            tile: the tile.
        """
        last = self.window(self.states, block, tile)[..., -1:]
        window = self.window(self.targets, block, tile)
        wanted = torch.sub(window, last, out=window.new_empty(window.shape))
        offset = bias.detach().view(-1, window.shape[-1])
        torch.addcdiv(offset, wanted, self.scale(block)[1], value=-1, out=wanted)
        return _AbsoluteError.apply(hidden.flatten(0, -2), weight, bias, wanted, self.mask)


class _AbsoluteError(torch.autograd.Function):
    """Sum of masked absolute values of ``weight @ hidden + offset``: the widest layer, of which only signs are kept.

    The offset, bias - wanted, is overwritten; the gradient to the bias is the sum of signs.
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
