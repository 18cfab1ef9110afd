"""The meta-training loss: by the edge list, and streamed with gradients and few stored edge states.

The streamed loss runs the passes of ``nino.nowcasters.streamed`` over B windows that share a graph, each pass one
autograd function (``nino.nowcasters.recompute``). The last pass takes the loss' gradient while a tile is at hand;
those over messages keep their first tiles for theirs and run the others again.

Shape legend: B windows, N nodes, P parameters, d hidden, H horizons; a tile has a sources x b targets = n edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

from nino.graphs.core import Block
from nino.nowcasters.edges import EdgeList
from nino.nowcasters.fold import Affine, Tile, all_blocks, columns, constant, degrees, fold, tiles, within
from nino.nowcasters.recompute import sum_errors, sum_messages
from nino.nowcasters.scaling import ScalingMode, window_scales
from nino.nowcasters.windows import Autocast, Batch

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.nino import NiNoNet

ROWS = 4096  # edges times windows in a tile: its ten or so temporaries then stay in the last level of cache
KEPT = 1 << 15  # edges times windows that a pass over messages keeps for its gradient: below 100 MB at 128 hidden


def edges_loss(
    net: NiNoNet,
    graph: NeuralGraph,
    states: Tensor,
    targets: Tensor,
    mask: Tensor,
    lpe: Tensor,
    scaling: ScalingMode,
) -> Tensor:
    """The loss of ``NiNoNet.training_loss`` by the specification, on the disjoint union of the windows' graphs."""
    windows, horizons = mask.shape
    sizes = torch.tensor([p.numel for p in graph.parameters], device=states.device)
    mean, divisor = (
        t.repeat_interleave(sizes, dim=1)[..., None] for t in window_scales(states, graph.parameters, scaling)
    )
    edges = EdgeList.of(graph).to(states.device)
    union = edges.repeat(windows)
    attributes = union.features(((states - mean) / divisor).flatten(0, 1), net.max_features)
    words = graph.word_index().to(states.device).repeat(windows) if net.word_positions else None
    update = net(union, attributes, lpe.flatten(0, 1), words)
    on_edge = union.param_edge >= 0
    update = update[union.param_edge[on_edge], union.param_position[on_edge], :horizons]
    wanted = ((targets - states[:, :, -1:]) / divisor).flatten(0, 1)[on_edge]
    errors = (update - wanted).abs().view(windows, -1, horizons)
    keep = mask[:, None].expand_as(errors)
    return errors[keep].mean()


@dataclass(frozen=True)
class Pass:
    """One pass over the blocks: what its tensors are, and what it does with a tile.

    Args:
        batch: states and targets.
        blocks: streamed blocks.
        depth: edge updates before this pass.
        context: states c.
        rows: edges times windows in a tile.
        predicts: whether this is the last pass, whose result is the sum of absolute errors.
        autocast: the ambient mixed precision.
    """

    batch: Batch
    blocks: list[Block]
    depth: int
    context: int
    rows: int
    predicts: bool
    autocast: Autocast

    @property
    def num_sources(self) -> int:
        """Node tensors read at sources: S_i x_i, and y."""
        return self.depth + (not self.predicts)

    @property
    def num_nodes(self) -> int:
        """Node tensors in all: those at sources, then as many at targets."""
        return 2 * self.num_sources

    def precision(self) -> AbstractContextManager[Any]:
        """The mixed precision that the loss was called under."""
        return self.autocast.enter()

    def tiles(self, block: Block) -> list[Tile]:
        """The block's tiles, small enough for all windows together."""
        return tiles(block, max(self.rows // self.batch.windows, 1), narrow=4)

    def slices(self, block: Block, tile: Tile) -> list[slice]:
        """Where each node tensor is read."""
        source, target = within(block.source, tile.source), within(block.target, tile.target)
        return [source] * self.num_sources + [target] * self.num_sources

    def run(self, block: Block, tile: Tile, nodes: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        """Messages summed at a tile's targets (B, b, d), or the sum of its absolute errors."""
        at_source, at_target = nodes[: self.num_sources], nodes[self.num_sources :]
        layers = [Affine(w, b) for w, b in zip(weights[::2], weights[1::2], strict=True)]
        a, b = tile.shape
        u = self.batch.features(block, tile)
        for depth in range(self.depth):
            ends = at_target[depth] + constant(layers[depth], depth, block, self.context)
            if tile.paired:
                ends = at_source[depth] + ends
            else:
                ends = (at_source[depth][:, :, None] + ends[:, None]).flatten(1, 2)
            if u is not None:
                ends = torch.addmm(ends.flatten(0, 1), u.flatten(0, 1), columns(layers[depth], u).T).view_as(ends)
            u = silu(ends)
        layer = layers[self.depth]
        shared = constant(layer, self.depth, block, self.context)
        if self.predicts:
            assert u is not None
            last, bias = (w[: block.features] for w in weights[-2:])
            h = silu(linear(u, columns(layer, u), shared))
            return self.batch.error(h, last.flatten(0, 1), bias.flatten(), block, tile)
        d = layer.weight.shape[0] // 2
        y, z = at_source[-1], at_target[-1]
        if tile.paired or a == 1 or u is None:
            both = shared if u is None else linear(u, columns(layer, u), shared)
            scale, shift = both.split(d, dim=-1)
            if u is None and not tile.paired:
                return y.sum(1, keepdim=True) * scale + a * (z * scale + shift)
            return (y + z) * scale + shift
        # sum_s scale*(y_s + z_t) + shift: only scale*y_s needs d^2 work an edge, the rest the sum of u
        weight = columns(layer, u)
        weighted = linear(u, weight[:d], shared[:d]).view(-1, a, b, d)
        scale, shift = linear(u.view(-1, a, b, u.shape[2]).sum(1), weight, a * shared).split(d, dim=2)
        return (weighted * y[:, :, None]).sum(1) + z * scale + shift


def streamed_loss(
    net: NiNoNet,
    graph: NeuralGraph,
    states: Tensor,
    targets: Tensor,
    mask: Tensor,
    lpe: Tensor,
    scaling: ScalingMode,
    memory_budget: int | None = None,
) -> Tensor:
    """The loss of ``NiNoNet.training_loss``, streamed; ``memory_budget`` bounds a tile's temporaries in bytes."""
    device = states.device
    batch = Batch.of(graph, states, targets, mask, scaling)
    rows, room = (ROWS, KEPT) if memory_budget is None else (max(memory_budget // (40 * net.hidden), 1), 0)
    autocast = Autocast.current(device)
    blocks, depth = all_blocks(graph), net.layers - 1
    with torch.autocast(device.type, enabled=False):
        folded = fold(net)
        words = graph.word_index().to(device) if net.word_positions else None
        x = net.nodes(lpe, words)
        degree = degrees(graph).to(x)
        sources: list[Tensor] = []
        ends: list[Tensor] = []
        weights: list[Tensor] = []
        for i, layer in enumerate(folded.nodes):
            y, z = linear(x, layer.source), linear(x, layer.target, layer.target_bias)
            message = folded.messages[i]
            work = Pass(batch, blocks, i, folded.context, rows, False, autocast)
            total = sum_messages(work, room, *sources, y, *ends, z, *weights, message.weight, message.bias)
            x = silu(linear(x, layer.keep, layer.bias) + linear(total / degree, layer.gather))
            sources.append(linear(x, folded.ends[i][0]))
            ends.append(linear(x, folded.ends[i][1]))
            weights += [folded.edges[i].weight, folded.edges[i].bias]
        work = Pass(batch, [b for b in blocks if b.weight is not None], depth, folded.context, rows, True, autocast)
        last = (folded.last[:, : mask.shape[1]], folded.last_bias[:, : mask.shape[1]])
        errors = sum_errors(work, *sources, *ends, *weights, folded.out.weight, folded.out.bias, *last)
    predicted = sum(block.num_weights for block in graph.blocks)
    return errors / (predicted * mask.sum())
