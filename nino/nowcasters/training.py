"""The meta-training loss: by the edge list, and streamed with gradients and without stored edge states.

The streamed loss runs the passes of ``nino.nowcasters.streamed`` over B windows that share a graph. Every pass is one
autograd function that keeps its node-sized inputs only and computes a tile again when its gradient is asked for; the
last one takes the loss' gradient while the tile is at hand, so that nothing is computed twice there.

Shape legend: B windows, N nodes, P parameters, d hidden, H horizons; a tile has a sources x b targets = n edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

from nino.graphs.core import Block
from nino.nowcasters.edges import EdgeList
from nino.nowcasters.fold import Affine, Tile, all_blocks, constant, degrees, fold, owners, tiles, within
from nino.nowcasters.scaling import ScalingMode, window_scales

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.base import Nowcaster
    from nino.nowcasters.nino import NiNoNet

ROWS = 4096  # edges times windows in a tile: its ten or so temporaries then stay in the last level of cache


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
        mask: (B, 1, 1, 1, H).
        mean: (B, T), a column for each parameter tensor.
        divisor: (B, T).
        owner: a block's column, by the offset of its window.
    """

    states: Tensor
    targets: Tensor
    mask: Tensor
    mean: Tensor
    divisor: Tensor
    owner: dict[int, int]

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
        return ((self.window(self.states, block, tile) - mean) / divisor).flatten(3).flatten(1, 2)

    def wanted(self, block: Block, tile: Tile) -> Tensor:
        """Scaled updates to be predicted (B, a, b, F, H)."""
        last = self.window(self.states, block, tile)[..., -1:]
        return (self.window(self.targets, block, tile) - last) / self.scale(block)[1]


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
        return tiles(block, max(self.rows // self.batch.mask.shape[0], 1), narrow=4)

    def slices(self, block: Block, tile: Tile) -> list[slice]:
        """Where each node tensor is read."""
        source, target = within(block.source, tile.source), within(block.target, tile.target)
        return [source] * self.num_sources + [target] * self.num_sources

    def run(self, block: Block, tile: Tile, nodes: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        """Messages summed at a tile's targets (B, b, d), or the sum of its absolute errors."""
        at_source, at_target = nodes[: self.num_sources], nodes[self.num_sources :]
        layers = [Affine(w, b) for w, b in zip(weights[::2], weights[1::2], strict=True)]
        (a, b), d = tile.shape, layers[0].weight.shape[0]
        u = self.batch.features(block, tile)
        for depth in range(self.depth):
            ends = at_target[depth] + constant(layers[depth], depth, block, self.context)
            ends = (
                at_source[depth] + ends if tile.paired else (at_source[depth][:, :, None] + ends[:, None]).flatten(1, 2)
            )
            u = silu(ends if u is None else ends + linear(u, layers[depth].weight[:, : u.shape[2]]))
        layer = layers[self.depth]
        shared = constant(layer, self.depth, block, self.context)
        if self.predicts:
            assert u is not None
            h = silu(linear(u, layer.weight[:, : u.shape[2]]) + shared)
            last, bias = (w[: block.features] for w in weights[-2:])
            update = linear(h, last.flatten(0, 1), bias.flatten())
            wanted = self.batch.wanted(block, tile)
            return ((update.view_as(wanted) - wanted).abs() * self.batch.mask).sum()
        d = layer.weight.shape[0] // 2
        y, z = at_source[-1], at_target[-1]
        if tile.paired or a == 1 or u is None:
            both = shared if u is None else linear(u, layer.weight[:, : u.shape[2]]) + shared
            scale, shift = both.split(d, dim=-1)
            if u is None and not tile.paired:
                return y.sum(1, keepdim=True) * scale + a * (z * scale + shift)
            return (y + z) * scale + shift
        weight = layer.weight[:, : u.shape[2]]
        weighted = (linear(u, weight[:d]) + shared[:d]).view(-1, a, b, d)
        total = u.view(-1, a, b, u.shape[2]).sum(1)
        scale, shift = (linear(total, weight) + a * shared).split(d, dim=2)
        return (weighted * y[:, :, None]).sum(1) + z * scale + shift


class Work(Protocol):
    """What the autograd functions below need of a pass; ``Pass`` documents each."""

    @property
    def blocks(self) -> list[Block]: ...  # noqa: D102
    @property
    def num_nodes(self) -> int: ...  # noqa: D102
    def precision(self) -> AbstractContextManager[Any]: ...  # noqa: D102
    def tiles(self, block: Block) -> list[Tile]: ...  # noqa: D102
    def slices(self, block: Block, tile: Tile) -> list[slice]: ...  # noqa: D102
    def run(self, block: Block, tile: Tile, nodes: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor: ...  # noqa: D102


class _Aggregate(torch.autograd.Function):
    """Sums of messages (B, N, d) of one pass; backward runs the tiles again."""

    @staticmethod
    def forward(ctx: Any, work: Work, *tensors: Tensor) -> Tensor:
        nodes, weights = tensors[: work.num_nodes], tensors[work.num_nodes :]
        out = torch.zeros_like(nodes[-1])
        for block in work.blocks:
            for tile in work.tiles(block):
                parts = [t[:, at] for t, at in zip(nodes, work.slices(block, tile), strict=True)]
                out[:, within(block.target, tile.target)] += work.run(block, tile, parts, weights)
        ctx.work = work
        ctx.save_for_backward(*tensors)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        work: Work = ctx.work
        collected = _Gradients(work, ctx.saved_tensors)
        for block in work.blocks:
            for tile in work.tiles(block):
                collected.add(block, tile, grads[0][:, within(block.target, tile.target)])
        return None, *collected.result()


class _Errors(torch.autograd.Function):
    """Sum of absolute errors over all tiles; gradients are taken in forward, while a tile is at hand."""

    @staticmethod
    def forward(ctx: Any, work: Work, *tensors: Tensor) -> Tensor:
        collected = _Gradients(work, tensors)
        total = torch.zeros((), dtype=tensors[-1].dtype, device=tensors[-1].device)
        for block in work.blocks:
            for tile in work.tiles(block):
                total += collected.add(block, tile)
        ctx.gradients = collected.result()
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        gradients, ctx.gradients = ctx.gradients, None
        return None, *(gradient * grads[0] for gradient in gradients)


class _Gradients:
    """Gradients of a pass to its node tensors and weights, added up tile by tile."""

    def __init__(self, work: Work, tensors: Sequence[Tensor]) -> None:
        self.work = work
        self.nodes = [t.detach() for t in tensors[: work.num_nodes]]
        self.gradients = [torch.zeros_like(t) for t in self.nodes]
        self.weights = [t.detach().requires_grad_() for t in tensors[work.num_nodes :]]

    def add(self, block: Block, tile: Tile, gradient: Tensor | None = None) -> Tensor:
        """Run a tile with a graph of its own and take its gradient; returns its value."""
        places = self.work.slices(block, tile)
        parts = [t[:, at].detach().requires_grad_() for t, at in zip(self.nodes, places, strict=True)]
        with torch.enable_grad(), self.work.precision():
            value = self.work.run(block, tile, parts, self.weights)
        torch.autograd.backward(value, gradient)
        for total, part, at in zip(self.gradients, parts, places, strict=True):
            if part.grad is not None:
                total[:, at] += part.grad
        return value.detach()

    def result(self) -> list[Tensor]:
        """Gradients in the order of the tensors."""
        return [*self.gradients, *(torch.zeros_like(w) if w.grad is None else w.grad for w in self.weights)]


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
    mean, divisor = window_scales(states, graph.parameters, scaling)
    batch = Batch(states, targets, mask[:, None, None, None], mean, divisor, owners(graph))
    rows = ROWS if memory_budget is None else max(memory_budget // (40 * net.hidden), 1)
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
            total = sum_messages(work, *sources, y, *ends, z, *weights, message.weight, message.bias)
            x = silu(linear(x, layer.keep, layer.bias) + linear(total / degree, layer.gather))
            sources.append(linear(x, folded.ends[i][0]))
            ends.append(linear(x, folded.ends[i][1]))
            weights += [folded.edges[i].weight, folded.edges[i].bias]
        work = Pass(batch, [b for b in blocks if b.weight is not None], depth, folded.context, rows, True, autocast)
        last = (folded.last[:, : mask.shape[1]], folded.last_bias[:, : mask.shape[1]])
        errors = sum_errors(work, *sources, *ends, *weights, folded.out.weight, folded.out.bias, *last)
    predicted = sum(block.num_weights for block in graph.blocks)
    return errors / (predicted * mask.sum())


def sum_errors(work: Work, *tensors: Tensor) -> Tensor:
    """Sum of a pass' absolute errors, with gradients to its node tensors and weights."""
    return _Errors.apply(work, *tensors)


def sum_messages(work: Work, *tensors: Tensor) -> Tensor:
    """Sums of messages (B, N, d), with gradients to the pass' node tensors and weights."""
    return _Aggregate.apply(work, *tensors)
