"""Edge states u_i of tiles, computed from scaled states and both ends' node states whenever they are needed.

Dimension names as in ``nino.nowcasters.network``; a tile has ``sources`` x ``targets`` edges, and those with the same
target lie side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from nino.graphs import Block
from nino.nowcasters.engines.fold import Folded
from nino.nowcasters.engines.reader import Reader
from nino.nowcasters.engines.sample import Picked
from nino.nowcasters.engines.scratch import Scratch
from nino.nowcasters.engines.tiles import Tile, shifted, within


class EdgeStates:
    """u_i of tiles, in buffers of the thread that asks.

    Args:
        folded: the folded network, where the computation is to run, in the precision of the edges' products.
        reader: source of scaled features.
        chunk: edges at a time.
        features: most features F*c that a block has.

    Attributes:
        ends: of each convolution done: S x_i, read at sources, and T x_i, read at targets.
    """

    def __init__(self, folded: Folded, reader: Reader, chunk: int, features: int) -> None:
        """No convolution is done yet; threads' buffers are allocated when they begin."""
        self.ends: list[tuple[Tensor, Tensor]] = []
        self._folded, self._reader, self._chunk, self._features = folded, reader, chunk, features
        self._scratch: dict[int, Scratch] = {}

    @property
    def scratch(self) -> Scratch:
        """The buffers of the thread that asks."""
        thread = threading.get_ident()  # no threading.local, which torch.compile does not see through
        if thread not in self._scratch:
            self._scratch[thread] = Scratch(self._folded, self._chunk, self._features)
        return self._scratch[thread]

    def at_targets(self, block: Block, targets: slice) -> list[Float[Tensor, "targets hidden"]]:
        """What each edge update adds on all edges to a target, for some of a block's targets."""
        nodes, context = within(block.target, targets), self._folded.context
        return [
            from_target[nodes] + self._folded.edges[depth].constant(depth, block, context)
            for depth, (_, from_target) in enumerate(self.ends)
        ]

    def read(
        self, block: Block, tile: Tile | Picked
    ) -> tuple[Float[Tensor, "features context edges"], Float[Tensor, "edges inputs"]] | tuple[None, None]:
        """Scaled features of a tile in float32, and u_0 in the precision of the matrix products.

        Auxiliary blocks have neither: their constant lies in the biases.
        """
        if block.weight is None:
            return None, None
        scratch = self.scratch
        exact = cast = self._reader.read(block, tile, scratch.raw)
        if scratch.features is not scratch.raw:
            cast = scratch.features[: exact.numel()].view_as(exact).copy_(exact)
        return exact, cast.flatten(0, 1).T

    def hidden(
        self,
        block: Block,
        tile: Tile | Picked,
        u: Float[Tensor, "edges inputs"] | None,
        at_targets: Sequence[Float[Tensor, "targets hidden"]],
        first: int,
    ) -> Float[Tensor, "edges _"] | None:
        """u_i of a tile from u_0, i = len(at_targets); ``at_targets`` begins at target ``first``."""
        buffers = self.scratch.hidden
        n, d = tile.shape[0] * tile.shape[1], buffers[0].shape[1]
        for depth, at_target in enumerate(at_targets):
            out = buffers[depth % 2][:n]
            sources = self.ends[depth][0][within(block.source, tile.source)]
            targets = at_target[shifted(tile.target, first)]
            if tile.paired:
                torch.add(sources, targets, out=out)
            else:
                torch.add(targets[:, None], sources, out=out.view(*tile.shape[::-1], d))
            if u is not None:
                out.addmm_(u, self._folded.edges[depth].columns(u).T)
            u = silu(out, inplace=True)
        return u

    def parts(
        self,
        block: Block,
        tiles: Iterable[Tile],
        size: int,
        at_targets: Sequence[Float[Tensor, "targets hidden"]],
        first: int,
    ) -> Iterator[tuple[Tile, Float[Tensor, "edges _"]]]:
        """The same for parts of at most ``size`` edges of tiles that are read whole."""
        for whole in tiles:
            _, features = self.read(block, whole)
            for tile, edges in whole.parts(size):
                u = self.hidden(block, tile, None if features is None else features[edges], at_targets, first)
                assert u is not None
                yield tile, u

    def spare(self, edges: int) -> Float[Tensor, "edges hidden"]:
        """The buffer that the last u_i of a tile does not lie in."""
        return self.scratch.hidden[len(self.ends) % 2][:edges]

    def room(self, block: Block) -> int:
        """Edges of a block that can be read together."""
        return self.scratch.raw.numel() // (block.features * self._folded.context)
