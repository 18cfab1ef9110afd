"""NiNo without edges in memory: every block is streamed through a chunk that stays in the cache, nothing approximated.

A pass over the blocks for each convolution that matters and one for the prediction (``nino.nowcasters.engines.fold``
has the algebra). Each pass loops over the tiles of all blocks, in ``Stream.aggregate`` and in ``Stream.write``. Memory
is O(nodes*d + chunk*d); (2L - 3) d^2 multiply-adds an edge, 3 d^2 at L = 3.

Dimension names as in ``nino.nowcasters.network``; a tile has ``sources`` x ``targets`` edges.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from nino.graphs import Block, NeuralGraph, Parameter, WeightView
from nino.nowcasters.engines.fold import Folded, fold
from nino.nowcasters.engines.sample import EdgeSample, Picked
from nino.nowcasters.engines.tiles import Tile, all_blocks, degrees, parameter_indices, tiles, within
from nino.nowcasters.network import Network
from nino.nowcasters.scaling import Scale, UnscaleMode
from nino.nowcasters.states import States

CHUNK_CPU = 2048  # edges a thread: two buffers of 512 bytes an edge then stay in caches of 2 MB a core
CHUNK_GPU = 1 << 18
Ends = list[tuple[Tensor, Tensor]]
"""Of each edge update so far S x (nodes hidden), read at sources, and T x (nodes hidden), read at targets."""


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

    def tiles(self, block: Block, size: int) -> list[Tile]:
        """The block's tiles; states on another device are cut so that those of a tile lie in one piece of memory."""
        if self._staged and block.weight is not None:
            source, target, _ = block.weight.strides
            return tiles(block, size, narrow=block.target.size if source > target else 1)
        return tiles(block, size)

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


class Stream:
    """One nowcast: buffers for a chunk, and the passes over the blocks.

    Args:
        folded: the folded network, where the computation is to run.
        reader: source of scaled features.
        chunk: edges at a time.
        features: most features F*c that a block has.
        sample: edges that messages travel on; None takes all.
    """

    def __init__(
        self, folded: Folded, reader: Reader, chunk: int, features: int, sample: EdgeSample | None = None
    ) -> None:
        """Allocate the buffers."""
        like = folded.last
        d = like.shape[-1]
        self.folded, self.reader, self.chunk, self.sample = folded, reader, chunk, sample
        self._raw = torch.empty(chunk * features, device=like.device)
        self._features = self._raw if like.dtype == torch.float32 else self._raw.to(like.dtype)
        self._hidden = [torch.empty(chunk, d, dtype=like.dtype, device=like.device) for _ in range(2)]

    def tiles(self, index: int, block: Block) -> Iterable[Tile | Picked]:
        """The edges of block number ``index`` that messages travel on."""
        if self.sample is None or block.weight is None:
            return self.reader.tiles(block, self.chunk)
        return self.sample.tiles(index, block, self.chunk, self.folded.last.device)

    def read(
        self, block: Block, tile: Tile | Picked
    ) -> tuple[Float[Tensor, "edges inputs"], Float[Tensor, "edges inputs"]]:
        """u_0 of a tile, in float32 and in the precision of the matrix products (twice the same where that is it)."""
        exact = self.reader.read(block, tile, self._raw)
        if self._features is self._raw:
            return exact, exact
        return exact, self._features[: exact.numel()].view_as(exact).copy_(exact)

    def hidden(
        self, block: Block, tile: Tile | Picked, u: Float[Tensor, "edges inputs"] | None, ends: Ends
    ) -> tuple[Float[Tensor, "edges _"] | None, Float[Tensor, "edges hidden"]]:
        """u_i of a tile from u_0, i = len(ends), and the buffer that it does not use.

        u_0 of auxiliary blocks is None: their constant lies in the biases.
        """
        n, d = tile.shape[0] * tile.shape[1], self._hidden[0].shape[1]
        for depth, (from_source, from_target) in enumerate(ends):
            layer = self.folded.edges[depth]
            out = self._hidden[depth % 2][:n]
            sources = from_source[within(block.source, tile.source)]
            bias = layer.constant(depth, block, self.folded.context)
            targets = from_target[within(block.target, tile.target)] + bias
            if tile.paired:
                torch.add(sources, targets, out=out)
            else:
                torch.add(sources[:, None], targets, out=out.view(*tile.shape, d))
            if u is not None:
                out.addmm_(u, layer.columns(u).T)
            u = silu(out, inplace=True)
        return u, self._hidden[len(ends) % 2][:n]

    def aggregate(
        self,
        blocks: list[Block],
        ends: Ends,
        y: Float[Tensor, "nodes hidden"],
        z: Float[Tensor, "nodes hidden"],
        out: Float[Tensor, "nodes hidden"],
    ) -> Float[Tensor, "nodes hidden"]:
        """Add every edge's message to its target's row of ``out`` (float32): y is read at sources, z at targets."""
        depth, d = len(ends), y.shape[1]
        layer = self.folded.messages[depth]
        for index, block in enumerate(blocks):
            bias = layer.constant(depth, block, self.folded.context)
            for tile in self.tiles(index, block):
                features = None if block.weight is None else self.read(block, tile)[1]
                u, spare = self.hidden(block, tile, features, ends)
                sources, targets = within(block.source, tile.source), within(block.target, tile.target)
                rows = tile.shape[0]
                if tile.paired or rows == 1:
                    both = bias if u is None else torch.addmm(bias, u, layer.columns(u).T)
                    scale, shift = both.float().expand(tile.shape[0] * tile.shape[1], -1).split(d, dim=1)
                    message = (y[sources] + z[targets]) * scale + shift
                    if isinstance(targets, Tensor):  # a target may be met more than once
                        out.index_add_(0, targets, message)
                    else:
                        out[targets] += message
                    continue
                # sum_s scale*(y_s + z_t) + shift: only scale*y_s needs d^2 work an edge, the rest the sum of u
                if u is None:
                    scale, shift = (rows * bias).split(d)
                    out[targets] += y[sources].sum(0) * bias[:d] + z[targets] * scale + shift
                    continue
                weight = layer.columns(u)
                torch.addmm(bias[:d], u, weight[:d].T, out=spare)
                weighted = spare.view(*tile.shape, d).mul_(y[sources, None]).sum(0, dtype=torch.float32)
                total = u.view(*tile.shape, -1).sum(0)
                scale, shift = torch.addmm(bias, total, weight.T, beta=rows).float().split(d, dim=1)
                out[targets] += weighted.addcmul_(z[targets], scale).add_(shift)
        return out

    def write(
        self, blocks: list[Block], ends: Ends, k: int, unscale: UnscaleMode, out: Float[Tensor, " params"]
    ) -> None:
        """Add every weight's unscaled update to ``out``, which holds the last states."""
        folded = self.folded
        for block in blocks:
            if block.weight is None:
                continue
            bias = folded.out.constant(len(ends), block, folded.context)
            last, shift = folded.last[: block.features, k - 1].T, folded.last_bias[: block.features, k - 1]
            gain, pull = self.reader.parameter(block)[1].undo(unscale)
            for tile in self.reader.tiles(block, self.chunk):
                exact, features = self.read(block, tile)
                u, spare = self.hidden(block, tile, features, ends)
                assert u is not None
                torch.addmm(bias, u, folded.out.columns(u).T, out=spare)
                update = torch.addmm(shift, silu(spare, inplace=True), last).float().mul_(gain)
                if pull:
                    update.add_(exact[:, folded.context - 1 :: folded.context], alpha=pull)
                add_update(out, block, tile, update)


def add_update(out: Float[Tensor, " params"], block: Block, tile: Tile, update: Float[Tensor, "*_"]) -> None:
    """Add a tile's updates, edges x features on any device, to its weights in ``out``."""
    assert block.weight is not None
    window = out.as_strided((*tile.shape, block.features), block.weight.strides, tile.first_weight(block))
    window += update.view(window.shape).to(out.device)


def predict_streamed(
    net: Network,
    graph: NeuralGraph,
    states: States,
    k: int,
    lpe: Float[Tensor, "nodes lpe"],
    scales: list[Scale],
    unscale: UnscaleMode,
    out: Float[Tensor, " params"],
    memory_budget: int | None = None,
    precision: torch.dtype = torch.float32,
    sample: EdgeSample | None = None,
) -> Float[Tensor, " params"]:
    """Run the passes; see ``NiNoNet.predict``, whose checks have been made.

    Args:
        net: the network; its weights' device computes.
        graph: the network's neural graph.
        states: past states, oldest first.
        k: horizon.
        lpe: node positions, on the computing device.
        scales: one a parameter.
        unscale: how updates are taken back to parameters.
        out: float32, holds the last states; updates are added to it.
        memory_budget: bytes for the chunk's buffers.
        precision: of the edges' matrix products.
        sample: edges that messages travel on; None takes all.

    Returns:
        ``out``.
    """
    device = lpe.device
    exact = fold(net, lambda t: t.detach().double())
    folded, layers = exact.to(precision), exact.to(torch.float32).nodes
    blocks = all_blocks(graph)
    features = max([b.features for b in graph.blocks], default=1) * folded.context
    chunk = chunk_size(memory_budget, features, net.hidden, device)
    chunk = min(chunk, max(b.num_edges for b in blocks))
    stream = Stream(folded, Reader(graph, states, scales, device), chunk, features, sample)
    words = graph.word_index().to(device) if net.word_positions else None
    x = net.nodes(lpe, words).float()
    degree = (degrees(graph) if sample is None else sample.degrees(graph)).to(device)
    ends: Ends = []
    for layer, cast in zip(layers, folded.nodes, strict=True):
        y, z = x @ layer.source.T, torch.addmm(layer.target_bias, x, layer.target.T)
        total = stream.aggregate(blocks, ends, y.to(precision), z, torch.zeros_like(x))
        mean = graph.ranks.add_up(total).div_(degree)
        del y, z, total
        x = torch.addmm(layer.bias, x, layer.keep.T).addmm_(mean, layer.gather.T)
        del mean
        silu(x, inplace=True)
        ends.append((x.to(precision) @ cast.end_source.T, x.to(precision) @ cast.end_target.T))
    del x
    stream.write(blocks, ends, k, unscale, out)
    return out


def chunk_size(memory_budget: int | None, features: int, hidden: int, device: torch.device) -> int:
    """Edges a chunk, from the bytes that its features (float32) and two hidden states take.

    >>> chunk_size(10_000_000, 5, 128, torch.device("cpu"))
    9578

    Raises:
        ValueError: for a budget that holds no edge.
    """
    if memory_budget is None:
        return CHUNK_CPU * torch.get_num_threads() if device.type == "cpu" else CHUNK_GPU
    chunk = memory_budget // (4 * (features + 2 * hidden))
    if chunk < 1:
        raise ValueError(f"`memory_budget` (={memory_budget}) must be at least {4 * (features + 2 * hidden)} bytes")
    return chunk
