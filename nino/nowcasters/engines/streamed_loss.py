"""The meta-training loss, streamed with gradients and few stored edge states.

The passes of ``nino.nowcasters.engines.streamed`` over B windows that share a graph, each one autograd function
(``nino.nowcasters.engines.recompute``). The last pass takes the loss' gradient while a tile is at hand; those over
messages keep the autograd graphs of their first tiles for backward and run the others again.

Dimension names as in ``nino.nowcasters.network``; ``windows`` B; a tile has ``sources`` x ``targets`` edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import linear, silu

from nino.graphs import Block, NeuralGraph
from nino.nowcasters.engines.batch import Batch
from nino.nowcasters.engines.fold import Affine, fold
from nino.nowcasters.engines.recompute import Autocast, Pass, sum_errors, sum_messages
from nino.nowcasters.engines.streamed import affordable
from nino.nowcasters.engines.tiles import Tile, all_blocks, degrees, tiles, within
from nino.nowcasters.network import Network
from nino.nowcasters.scaling import ScalingMode

ROWS = 2048  # edges times windows in a tile: its ten or so temporaries then stay in the last level of cache
KEPT = 1 << 15  # edges times windows that a pass over messages keeps for its gradient: below 100 MB at 128 hidden


@dataclass(frozen=True)
class NetworkPass(Pass):
    """A pass of the folded network: messages of one convolution, or the errors of the prediction.

    Args:
        depth: edge updates before this pass.
        context: states c.
        predicts: whether this is the last pass, whose result is the sum of absolute errors.
    """

    depth: int
    context: int
    predicts: bool

    @property
    def num_sources(self) -> int:
        """Node tensors read at sources: S_i x_i, and y."""
        return self.depth + (not self.predicts)

    @property
    def num_nodes(self) -> int:
        """Node tensors in all: those at sources, then as many at targets."""
        return 2 * self.num_sources

    def tiles(self, block: Block) -> list[Tile]:
        """The block's tiles, small enough for all windows together."""
        return tiles(block, max(self.rows // self.batch.windows, 1), narrow=4)

    def slices(self, block: Block, tile: Tile) -> list[slice]:
        """Where each node tensor is read."""
        source, target = within(block.source, tile.source), within(block.target, tile.target)
        return [source] * self.num_sources + [target] * self.num_sources

    def run(self, block: Block, tile: Tile, nodes: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        """Messages summed at a tile's targets (windows targets hidden), or the sum of its absolute errors."""
        at_source, at_target = nodes[: self.num_sources], nodes[self.num_sources :]
        pairs = weights[: 2 * self.depth + 2]  # the last layer's weights, if any, follow
        layers = [Affine(w, b) for w, b in zip(pairs[::2], pairs[1::2], strict=True)]
        a, b = tile.shape
        u = self.batch.features(block, tile)
        for depth in range(self.depth):
            ends = at_target[depth] + layers[depth].constant(depth, block, self.context)
            if tile.paired:
                ends = at_source[depth] + ends  # (B, n, d)
            else:
                ends = (at_source[depth][:, :, None] + ends[:, None]).flatten(1, 2)  # (B, a, b, d) -> (B, n, d)
            if u is not None:
                ends = torch.addmm(ends.flatten(0, 1), u.flatten(0, 1), layers[depth].columns(u).T).view_as(ends)
            u = silu(ends)
        layer = layers[self.depth]
        shared = layer.constant(self.depth, block, self.context)
        if self.predicts:
            assert u is not None
            last, bias = (w[: block.features] for w in weights[-2:])
            h = silu(linear(u, layer.columns(u), shared))
            return self.batch.error(h, last.flatten(0, 1), bias.flatten(), block, tile)
        d = layer.weight.shape[0] // 2
        y, z = at_source[-1], at_target[-1]
        if tile.paired or a == 1 or u is None:
            both = shared if u is None else linear(u, layer.columns(u), shared)
            scale, shift = both.split(d, dim=-1)
            if u is None and not tile.paired:
                return y.sum(1, keepdim=True) * scale + a * (z * scale + shift)
            return (y + z) * scale + shift
        # sum_s scale*(y_s + z_t) + shift: only scale*y_s needs d^2 work an edge, the rest the sum of u
        weight = layer.columns(u)
        weighted = linear(u, weight[:d], shared[:d]).view(-1, a, b, d)
        scale, shift = linear(u.view(-1, a, b, u.shape[2]).sum(1), weight, a * shared).split(d, dim=2)
        return (weighted * y[:, :, None]).sum(1) + z * scale + shift


def streamed_loss(
    net: Network,
    graph: NeuralGraph,
    states: Float[Tensor, "windows params states"],
    targets: Float[Tensor, "windows params horizons"],
    mask: Bool[Tensor, "windows horizons"],
    lpe: Float[Tensor, "windows nodes lpe"],
    scaling: ScalingMode,
    memory_budget: int | None = None,
    threads: int = 1,
) -> Float[Tensor, ""]:
    """The loss of ``NiNoNet.training_loss``, streamed; ``memory_budget`` bounds a tile's temporaries in bytes."""
    device = states.device
    batch = Batch.of(graph, states, targets, mask, scaling)
    rows, threads = rows_and_threads(memory_budget, net.hidden, threads)
    room = KEPT if memory_budget is None else 0
    autocast = Autocast.current(device)
    blocks = all_blocks(graph)
    weighted = [block for block in blocks if block.weight is not None]
    with torch.autocast(device.type, enabled=False):
        folded = fold(net)
        words = graph.word_index().to(device) if net.word_positions else None
        x = net.nodes(lpe, words)  # (B, N, d)
        degree = degrees(graph).to(x)
        sources: list[Tensor] = []
        ends: list[Tensor] = []
        weights: list[Tensor] = []
        for i, layer in enumerate(folded.nodes):
            y, z = linear(x, layer.source), linear(x, layer.target, layer.target_bias)
            message = folded.messages[i]
            work = NetworkPass(batch, blocks, rows, autocast, threads, i, folded.context, predicts=False)
            total = sum_messages(work, room, *sources, y, *ends, z, *weights, message.weight, message.bias)
            x = silu(linear(x, layer.keep, layer.bias) + linear(total / degree, layer.gather))
            sources.append(linear(x, layer.end_source))
            ends.append(linear(x, layer.end_target))
            weights += [folded.edges[i].weight, folded.edges[i].bias]
        work = NetworkPass(batch, weighted, rows, autocast, threads, len(folded.nodes), folded.context, predicts=True)
        last = (folded.last[:, : mask.shape[1]], folded.last_bias[:, : mask.shape[1]])
        errors = sum_errors(work, *sources, *ends, *weights, folded.out.weight, folded.out.bias, *last)
    return errors / (sum(block.num_weights for block in weighted) * mask.sum())


def rows_and_threads(memory_budget: int | None, hidden: int, threads: int) -> tuple[int, int]:
    """Edges times windows in a tile, whose temporaries take about 40 bytes for each hidden channel, and threads.

    >>> rows_and_threads(None, 128, 4), rows_and_threads(20_000_000, 128, 4), rows_and_threads(10_000, 128, 4)
    ((2048, 4), (2048, 1), (1, 1))
    """
    if memory_budget is None:
        return ROWS, threads
    size = 40 * hidden
    rows = max(min(memory_budget // size, ROWS), 1)
    return rows, affordable(threads, memory_budget, rows * size)
