"""NiNo without edges in memory: every block is streamed through a chunk that stays in the cache, nothing approximated.

A pass over the blocks for each convolution that matters and one for the prediction (``nino.nowcasters.fold`` has the
algebra). Memory is O(nodes*d + chunk*d); (2L - 3) d^2 multiply-adds an edge, 3 d^2 at L = 3.

Shape legend: N nodes, d hidden, c states, F kernel positions; a tile has a sources x b targets = n edges.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import silu

from nino.graphs.core import Block, WeightView
from nino.nowcasters.fold import (
    Folded,
    Tile,
    all_blocks,
    cast,
    columns,
    constant,
    degrees,
    fold,
    owners,
    tiles,
    within,
)
from nino.nowcasters.sample import EdgeSample, Picked
from nino.nowcasters.scaling import Scale, UnscaleMode
from nino.nowcasters.states import States

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph, Parameter
    from nino.nowcasters.nino import NiNoNet

CHUNK_CPU = 2048  # edges a thread: two buffers of 512 bytes an edge then stay in caches of 2 MB a core
CHUNK_GPU = 1 << 18


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
        self._owner = owners(graph)

    def parameter(self, block: Block) -> tuple[Parameter, Scale]:
        """The parameter whose elements lie on a block's edges."""
        assert block.weight is not None
        index = self._owner[block.weight.offset]
        return self._parameters[index], self._scales[index]

    def tiles(self, block: Block, size: int) -> list[Tile]:
        """The block's tiles; where states come from another device, such as lie in one piece of memory."""
        if self._staged and block.weight is not None:
            source, target, _ = block.weight.strides
            return tiles(block, size, narrow=block.target.size if source > target else 1)
        return tiles(block, size)

    def read(self, block: Block, tile: Tile | Picked, out: Tensor) -> Tensor:
        """Scaled features of a tile, (n, F*c) in ``out``'s first elements."""
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
                view = self._window(part, block.weight, shape, first(block.weight, tile) - parameter.offset, out.device)
            chunk[..., column : column + part.shape[1]].copy_(view)
            column += part.shape[1]
        return chunk.sub_(scale.mean).div_(scale.divisor).view(size, -1)

    def _window(
        self, part: Tensor, weight: WeightView, shape: tuple[int, ...], start: int, device: torch.device
    ) -> Tensor:
        """A tile's part (*shape, c_i) of a parameter's states (numel, c_i), from element ``start`` on."""
        begin = start
        if self._staged:  # strided reads happen where the tile goes; what travels is one run of memory a state
            stop = start + 1 + sum((n - 1) * s for n, s in zip(shape, weight.strides, strict=True))
            part, begin = part[start:stop].T.to(device).T, 0
        step, column_step = part.stride()
        strides = (*(s * step for s in weight.strides), column_step)
        return part.as_strided((*shape, part.shape[1]), strides, part.storage_offset() + begin * step)


def first(view: WeightView, tile: Tile) -> int:
    """Index of a tile's first weight."""
    along_targets = 0 if tile.paired else tile.target.start * view.strides[1]
    return view.offset + tile.source.start * view.strides[0] + along_targets


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

    def read(self, block: Block, tile: Tile | Picked) -> Tensor | None:
        """u_0 of a tile (n, F*c); None for auxiliary blocks, whose constant lies in the biases."""
        if block.weight is None:
            return None
        u = self.reader.read(block, tile, self._raw)
        return u if self._features is self._raw else self._features[: u.numel()].view_as(u).copy_(u)

    def hidden(
        self, block: Block, tile: Tile | Picked, u: Tensor | None, ends: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor | None, Tensor]:
        """u_i of a tile (n, Q), i = len(ends), and the buffer that it does not use."""
        n, d = tile.shape[0] * tile.shape[1], self._hidden[0].shape[1]
        for depth, (from_source, from_target) in enumerate(ends):
            layer = self.folded.edges[depth]
            out = self._hidden[depth % 2][:n]
            sources = from_source[within(block.source, tile.source)]
            targets = from_target[within(block.target, tile.target)] + constant(
                layer, depth, block, self.folded.context
            )
            if tile.paired:
                torch.add(sources, targets, out=out)
            else:
                torch.add(sources[:, None], targets, out=out.view(*tile.shape, d))
            if u is not None:
                out.addmm_(u, columns(layer, u).T)
            u = silu(out, inplace=True)
        return u, self._hidden[len(ends) % 2][:n]

    def aggregate(
        self, blocks: list[Block], ends: list[tuple[Tensor, Tensor]], y: Tensor, z: Tensor, out: Tensor
    ) -> Tensor:
        """Add every edge's message to its target: y (N, d) at sources, z (N, d) at targets, ``out`` (N, d) float32."""
        depth, d = len(ends), y.shape[1]
        layer = self.folded.messages[depth]
        for index, block in enumerate(blocks):
            bias = constant(layer, depth, block, self.folded.context)
            for tile in self.tiles(index, block):
                u, spare = self.hidden(block, tile, self.read(block, tile), ends)
                sources, targets = within(block.source, tile.source), within(block.target, tile.target)
                rows = tile.shape[0]
                if tile.paired or rows == 1:
                    both = bias if u is None else torch.addmm(bias, u, columns(layer, u).T)
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
                weight = columns(layer, u)
                torch.addmm(bias[:d], u, weight[:d].T, out=spare)
                weighted = spare.view(*tile.shape, d).mul_(y[sources, None]).sum(0, dtype=torch.float32)
                total = u.view(*tile.shape, -1).sum(0)
                scale, shift = torch.addmm(bias, total, weight.T, beta=rows).float().split(d, dim=1)
                out[targets] += weighted.addcmul_(z[targets], scale).add_(shift)
        return out

    def write(
        self, blocks: list[Block], ends: list[tuple[Tensor, Tensor]], k: int, unscale: UnscaleMode, out: Tensor
    ) -> None:
        """Add every weight's unscaled update to ``out`` (P,), which holds the last states."""
        folded = self.folded
        for block in blocks:
            if block.weight is None:
                continue
            bias = constant(folded.out, len(ends), block, folded.context)
            last, shift = folded.last[: block.features, k - 1].T, folded.last_bias[: block.features, k - 1]
            gain, pull = self.reader.parameter(block)[1].undo(unscale)
            for tile in self.reader.tiles(block, self.chunk):
                features = self.reader.read(block, tile, self._raw)
                cast = features
                if self._features is not self._raw:
                    cast = self._features[: features.numel()].view_as(features).copy_(features)
                u, spare = self.hidden(block, tile, cast, ends)
                assert u is not None
                torch.addmm(bias, u, columns(folded.out, u).T, out=spare)
                update = torch.addmm(shift, silu(spare, inplace=True), last).float().mul_(gain)
                if pull:
                    update.add_(features[:, folded.context - 1 :: folded.context], alpha=pull)
                add_update(out, block, tile, update)


def add_update(out: Tensor, block: Block, tile: Tile, update: Tensor) -> None:
    """Add a tile's updates (n, F), on any device, to its weights in ``out`` (P,)."""
    assert block.weight is not None
    window = out.as_strided((*tile.shape, block.features), block.weight.strides, first(block.weight, tile))
    window += update.view(window.shape).to(out.device)


def predict_streamed(
    net: NiNoNet,
    graph: NeuralGraph,
    states: States,
    k: int,
    lpe: Tensor,
    scales: list[Scale],
    unscale: UnscaleMode,
    out: Tensor,
    memory_budget: int | None = None,
    precision: torch.dtype = torch.float32,
    sample: EdgeSample | None = None,
) -> Tensor:
    """Run the passes; see ``NiNoNet.predict``, whose checks have been made.

    Args:
        net: the network; its weights' device computes.
        graph: the network's neural graph.
        states: (P, c).
        k: horizon.
        lpe: (N, 8) on the computing device.
        scales: one a parameter.
        unscale: how updates are taken back to parameters.
        out: (P,) float32, holds the last states; updates are added to it.
        memory_budget: bytes for the chunk's buffers.
        precision: of the edges' matrix products.
        sample: edges that messages travel on; None takes all.

    Returns:
        ``out``.
    """
    device = lpe.device
    exact = fold(net, lambda t: t.detach().double())
    folded, nodes = cast(exact, precision), cast(exact, torch.float32).nodes
    blocks = all_blocks(graph)
    features = max([b.features for b in graph.blocks], default=1) * folded.context
    chunk = chunk_size(memory_budget, features, net.hidden, device)
    chunk = min(chunk, max(b.num_edges for b in blocks))
    stream = Stream(folded, Reader(graph, states, scales, device), chunk, features, sample)
    words = graph.word_index().to(device) if net.word_positions else None
    x = net.nodes(lpe, words).float()
    degree = (degrees(graph) if sample is None else sample.degrees(graph)).to(device)
    ends: list[tuple[Tensor, Tensor]] = []
    for layer, (source, target) in zip(nodes, folded.ends, strict=True):
        y, z = x @ layer.source.T, torch.addmm(layer.target_bias, x, layer.target.T)
        mean = stream.aggregate(blocks, ends, y.to(precision), z, torch.zeros_like(x)).div_(degree)
        del y, z
        x = torch.addmm(layer.bias, x, layer.keep.T).addmm_(mean, layer.gather.T)
        del mean
        silu(x, inplace=True)
        ends.append((x.to(precision) @ source.T, x.to(precision) @ target.T))
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
