"""Blocks' scaled states read in tiles, and predictions written to the same places.

Dimension names as in ``nino.nowcasters.network``; a tile has ``sources`` x ``targets`` edges.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import Block, NeuralGraph, Parameter, WeightView
from nino.nowcasters.engines.sample import Picked
from nino.nowcasters.engines.tiles import Tile, parameter_indices, tiles
from nino.nowcasters.scaling import Scale
from nino.nowcasters.states import States

NARROW = 4  # targets that a tile has at least


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
        # tensors with a dimension, so that states of any dtype are centred in float32 at least
        self._means = torch.tensor([scale.mean for scale in scales], dtype=torch.float32).to(device).split(1)
        self._staged = device != states.device
        self._parameters = graph.parameters
        self._index = parameter_indices(graph)

    def parameter(self, block: Block) -> tuple[Parameter, Scale]:
        """The parameter whose elements lie on a block's edges."""
        assert block.weight is not None
        index = self._index[block.weight.offset]
        return self._parameters[index], self._scales[index]

    def tiles(self, block: Block, size: int, targets: slice | None = None, room: int | None = None) -> list[Tile]:
        """Tiles at some of a block's targets; those of states on another device lie in one piece of memory each.

        Args:
            block: the block.
            size: edges that are computed together.
            targets: see above; None takes all.
            room: edges that may be read together.
        """
        narrow = NARROW
        if self._staged and block.weight is not None:
            source, target, _ = block.weight.strides
            narrow, room = block.target.size if source > target else 1, None
        return tiles(block, size, narrow, targets, room)

    def read(
        self, block: Block, tile: Tile | Picked, out: Float[Tensor, " room"]
    ) -> Float[Tensor, "features context edges"]:
        """Scaled features of a tile's edges, those with the same target side by side, in ``out``'s first elements.

        Each state is one run of memory, as it is where the tile comes from: processors copy runs, not single values.
        """
        assert block.weight is not None
        index = self._index[block.weight.offset]
        parameter, mean = self._parameters[index], self._means[index]
        shape, context = (block.features, self._states.shape[1], *tile.shape[::-1]), 0
        chunk = out[: math.prod(shape)].view(shape)
        for part in self._states.parts(parameter):
            some = (shape[0], part.shape[1], *shape[2:])
            if isinstance(tile, Picked):
                view = part[tile.places(block, parameter).to(part.device)].permute(2, 3, 1, 0)
            else:
                view = self._window(part, block.weight, some, tile.first_weight(block) - parameter.offset, out.device)
            torch.sub(view.to(out.device), mean, out=chunk[:, context : context + some[1]])
            context += some[1]
        return chunk.div_(self._scales[index].divisor).flatten(2)

    def _window(
        self,
        part: Float[Tensor, "elements some_states"],
        weight: WeightView,
        shape: tuple[int, ...],
        start: int,
        device: torch.device,
    ) -> Float[Tensor, "features some_states targets sources"]:
        """A tile's part, of this ``shape``, of a parameter's states, from element ``start`` on."""
        begin, (along, across, inner) = start, weight.strides
        if self._staged:  # strided reads happen where the tile goes; what travels is one run of memory a state
            features, _, targets, sources = shape
            stop = start + 1 + (features - 1) * inner + (targets - 1) * across + (sources - 1) * along
            part, begin = part[start:stop].T.to(device).T, 0
        step, column_step = part.stride()
        strides = (inner * step, column_step, across * step, along * step)
        return part.as_strided(shape, strides, part.storage_offset() + begin * step)


def add_update(out: Float[Tensor, " params"], block: Block, tile: Tile, update: Float[Tensor, "*_"]) -> None:
    """Add a tile's updates, features x edges as ``Reader.read`` has them, on any device, to its weights in ``out``."""
    assert block.weight is not None
    window = out.as_strided((block.features, *tile.shape[::-1]), block.weight.strides[::-1], tile.first_weight(block))
    window += update.view(window.shape).to(out.device)
