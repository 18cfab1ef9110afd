"""Blocks' scaled states read in tiles, and predictions written to the same places.

Dimension names as in ``nino.nowcasters.network``; a tile has ``sources`` x ``targets`` edges.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import Block, NeuralGraph, Parameter, WeightView
from nino.nowcasters.engines.sample import Picked
from nino.nowcasters.engines.tiles import Tile, parameter_indices, tiles
from nino.nowcasters.scaling import Scale
from nino.nowcasters.states import States


class Reader:
    """Reads blocks' scaled states in tiles and writes predictions to the same places.

    Args:
        graph: whose blocks are read.
        states: (P, c).
        scales: one a parameter.
        device: where tiles go.
    """

    def __init__(self, graph: NeuralGraph, states: States, scales: list[Scale], device: torch.device) -> None:
        """Remember which parameter each block's window starts in."""
        self._states, self._scales = states, scales
        self._staged = device != states.device
        self._parameters = graph.parameters
        self._index = parameter_indices(graph)

    def parameter(self, block: Block) -> tuple[Parameter, Scale]:
        """The parameter whose elements lie on a block's edges."""
        assert block.weight is not None
        index = self._index[block.weight.offset]
        return self._parameters[index], self._scales[index]

    def tiles(self, block: Block, size: int, targets: slice | None = None) -> list[Tile]:
        """Tiles at some of a block's targets; those of states on another device lie in one piece of memory each."""
        narrow = 8
        if self._staged and block.weight is not None:
            source, target, _ = block.weight.strides
            narrow = block.target.size if source > target else 1
        return tiles(block, size, narrow, targets)

    def read(self, block: Block, tile: Tile | Picked, out: Float[Tensor, " room"]) -> Float[Tensor, "edges inputs"]:
        """Scaled features of a tile's edges, in ``out``'s first elements."""
        parameter, scale = self.parameter(block)
        assert block.weight is not None
        shape = (*tile.shape, block.features)
        context, size = self._states.shape[1], tile.shape[0] * tile.shape[1]
        chunk = out[: size * block.features * context].view(*shape, context)
        column = 0
        for part in self._states.parts(parameter):
            if isinstance(tile, Picked):
                view = part[tile.places(block, parameter).to(part.device)]
            else:
                view = self._window(part, block.weight, shape, tile.first_weight(block) - parameter.offset, out.device)
            chunk[..., column : column + part.shape[1]].copy_(view)
            column += part.shape[1]
        return chunk.sub_(scale.mean).div_(scale.divisor).view(size, -1)

    def _window(
        self,
        part: Float[Tensor, "elements some_states"],
        weight: WeightView,
        shape: tuple[int, ...],
        start: int,
        device: torch.device,
    ) -> Float[Tensor, "sources targets features some_states"]:
        """A tile's part, of this ``shape``, of a parameter's states, from element ``start`` on."""
        begin = start
        if self._staged:  # strided reads happen where the tile goes; what travels is one run of memory a state
            stop = start + 1 + sum((n - 1) * s for n, s in zip(shape, weight.strides, strict=True))
            part, begin = part[start:stop].T.to(device).T, 0
        step, column_step = part.stride()
        strides = (*(s * step for s in weight.strides), column_step)
        return part.as_strided((*shape, part.shape[1]), strides, part.storage_offset() + begin * step)


def add_update(out: Float[Tensor, " params"], block: Block, tile: Tile, update: Float[Tensor, "*_"]) -> None:
    """Add a tile's updates, edges x features on any device, to its weights in ``out``."""
    assert block.weight is not None
    window = out.as_strided((*tile.shape, block.features), block.weight.strides, tile.first_weight(block))
    window += update.view(window.shape).to(out.device)
