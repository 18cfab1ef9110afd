"""The passes of the streamed engine: every range of target nodes by itself, tile by tile.

A range's messages are summed by one thread in a fixed order and then update its nodes, so that no two threads write
to the same place and their number does not change a bit. Processes that share the graph sum those of their own edges,
add the sums up over all of them, and then update all nodes each.

Dimension names as in ``nino.nowcasters.network``; a tile has ``sources`` x ``targets`` edges.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from nino.graphs import Block, NeuralGraph, Nodes
from nino.nowcasters.engines.fold import Folded, NodeLayer
from nino.nowcasters.engines.reader import Reader, add_update
from nino.nowcasters.engines.sample import EdgeSample, Picked
from nino.nowcasters.engines.scratch import Scratch
from nino.nowcasters.engines.tiles import Inflow, Tile, all_blocks, cuts, degrees, shifted, within
from nino.nowcasters.scaling import UnscaleMode
from nino.threads import Workers


class Stream:
    """One nowcast: the node states, and the passes over the blocks.

    Args:
        graph: whose edges are streamed; self-loops are added.
        folded: the folded network, where the computation is to run, in the precision of the edges' products.
        layers: its node maps in float32.
        reader: source of scaled features.
        x: first node states; overwritten.
        chunk: edges at a time.
        features: most features F*c that a block has.
        workers: who works on the ranges.
        sample: edges that messages travel on; None takes all.
    """

    def __init__(
        self,
        graph: NeuralGraph,
        folded: Folded,
        layers: list[NodeLayer],
        reader: Reader,
        x: Float[Tensor, "nodes hidden"],
        chunk: int,
        features: int,
        workers: Workers,
        sample: EdgeSample | None = None,
    ) -> None:
        """Allocate the node states that are read at sources."""
        self.blocks, self.folded, self.layers, self.reader = all_blocks(graph), folded, layers, reader
        self.chunk, self.workers, self.sample, self.ranks = chunk, workers, sample, graph.ranks
        self.x = x
        self.y = torch.empty_like(x, dtype=folded.last.dtype)
        self._ends: list[tuple[Tensor, Tensor]] = []  # S x_i, read at sources, and T x_i, read at targets
        self._sums: dict[Nodes, Tensor] = {}
        self._degree = (degrees(graph) if sample is None else sample.degrees(graph)).to(x.device)
        self._scratch: dict[int, Scratch] = {}
        self._most_features = features

    @property
    def scratch(self) -> Scratch:
        """The buffers of the thread that asks."""
        thread = threading.get_ident()  # no threading.local, which torch.compile does not see through
        if thread not in self._scratch:
            self._scratch[thread] = Scratch(self.folded, self.chunk, self._most_features)
        return self._scratch[thread]

    # -- nodes -------------------------------------------------------------------------------------------------------

    def convolve(self, ranges: Sequence[Inflow]) -> None:
        """One convolution: messages, new node states, and what later passes read of them at both ends."""
        depth = len(self._ends)
        if not depth:
            self.workers.run(lambda inflow: self._emit(self.y, 0, inflow.nodes), ranges)
        self._sums = self._sums_of_sources()
        more = depth + 1 < len(self.layers)
        next_y = torch.empty_like(self.y) if more else self.y
        ends = torch.empty_like(self.y), torch.empty_like(self.y)

        def update(nodes: slice, total: Float[Tensor, "targets hidden"]) -> None:
            layer, cast, x = self.layers[depth], self.folded.nodes[depth], self.x[nodes]
            x = torch.addmm(layer.bias, x, layer.keep.T).addmm_(total.div_(self._degree[nodes]), layer.gather.T)
            self.x[nodes] = silu(x, inplace=True)
            for end, weight in zip(ends, (cast.end_source, cast.end_target), strict=True):
                torch.mm(x.to(end.dtype), weight.T, out=end[nodes])
            if more:
                self._emit(next_y, depth + 1, nodes)

        if self.sample is None and self.ranks.world == 1:
            self.workers.run(lambda inflow: update(inflow.nodes, self._messages(inflow)), ranges)
        else:
            total, summed = torch.zeros_like(self.x), ranges
            if self.sample is not None:  # a block's edges are drawn one after the other
                summed = [Inflow(b.target.slice, [(i, b, slice(0, b.target.size))]) for i, b in enumerate(self.blocks)]
            messages = lambda inflow: (inflow.nodes, self._messages(inflow))  # noqa: E731
            self.workers.reduce(messages, summed, lambda done: total[done[0]].add_(done[1]))
            self.ranks.add_up(total)
            self.workers.run(lambda inflow: update(inflow.nodes, total[inflow.nodes]), ranges)
        self._ends.append(ends)
        self.y = next_y

    def _emit(self, y: Float[Tensor, "nodes hidden"], depth: int, nodes: slice) -> None:
        """What convolution number ``depth`` reads of some nodes at sources."""
        y[nodes] = self.x[nodes] @ self.layers[depth].source.T

    def _sums_of_sources(self) -> dict[Nodes, Tensor]:
        """Sums of y over the sources of every dense block."""
        groups = list({block.source: None for block in self.blocks if block.kind == "dense"})
        sums = self.workers.map(lambda nodes: self.y[nodes.slice].sum(0, dtype=torch.float32), groups)
        return dict(zip(groups, sums, strict=True))

    # -- edges -------------------------------------------------------------------------------------------------------

    def _read(
        self, block: Block, tile: Tile | Picked
    ) -> tuple[Float[Tensor, "edges inputs"], Float[Tensor, "edges inputs"]]:
        """u_0 of a tile, in float32 and in the precision of the matrix products (twice the same where that is it)."""
        scratch = self.scratch
        exact = self.reader.read(block, tile, scratch.raw)
        if scratch.features is scratch.raw:
            return exact, exact
        return exact, scratch.features[: exact.numel()].view_as(exact).copy_(exact)

    def _at_targets(self, block: Block, targets: slice) -> list[Float[Tensor, "targets hidden"]]:
        """What each edge update adds on all edges to a target, for some of a block's targets."""
        nodes, context = within(block.target, targets), self.folded.context
        return [
            from_target[nodes] + self.folded.edges[depth].constant(depth, block, context)
            for depth, (_, from_target) in enumerate(self._ends)
        ]

    def _hidden(
        self,
        block: Block,
        tile: Tile | Picked,
        u: Float[Tensor, "edges inputs"] | None,
        at_targets: Sequence[Float[Tensor, "targets hidden"]],
        first: int = 0,
    ) -> Float[Tensor, "edges _"] | None:
        """u_i of a tile from u_0, i = len(at_targets).

        u_0 of auxiliary blocks is None: their constant lies in the biases. ``at_targets`` begins at target ``first``.
        """
        buffers = self.scratch.hidden
        n, d = tile.shape[0] * tile.shape[1], buffers[0].shape[1]
        for depth, at_target in enumerate(at_targets):
            out = buffers[depth % 2][:n]
            sources = self._ends[depth][0][within(block.source, tile.source)]
            targets = at_target[shifted(tile.target, first)]
            if tile.paired:
                torch.add(sources, targets, out=out)
            else:
                torch.add(sources[:, None], targets, out=out.view(*tile.shape, d))
            if u is not None:
                out.addmm_(u, self.folded.edges[depth].columns(u).T)
            u = silu(out, inplace=True)
        return u

    def _spare(self, edges: int) -> Float[Tensor, "edges hidden"]:
        """The buffer that the last u_i of a tile does not lie in."""
        return self.scratch.hidden[len(self._ends) % 2][:edges]

    def _messages(self, inflow: Inflow) -> Float[Tensor, "targets hidden"]:
        """Sums of the messages of a convolution at a range of targets, float32."""
        layer = self.layers[len(self._ends)]
        z = torch.addmm(layer.target_bias, self.x[inflow.nodes], layer.target.T)
        out = torch.zeros_like(z)
        for index, block, targets in inflow.parts:
            place = shifted(within(block.target, targets), inflow.nodes.start)
            if block.weight is not None and self.sample is not None:
                tiles = self.sample.tiles(index, block, self.chunk, z.device)
                self._add_pairs(block, targets, tiles, z[place], out[place])
            elif block.kind == "diagonal" or block.source.size == 1:
                self._add_pairs(block, targets, self.reader.tiles(block, self.chunk, targets), z[place], out[place])
            else:
                self._add_rectangles(block, targets, z[place], out[place])
        return out

    def _add_pairs(
        self,
        block: Block,
        targets: slice,
        tiles: Iterator[Picked] | list[Tile],
        z: Float[Tensor, "targets hidden"],
        out: Float[Tensor, "targets hidden"],
    ) -> None:
        """Add the messages of tiles of which no two edges end at the same target, or which are no rectangles."""
        depth, d = len(self._ends), z.shape[1]
        layer, at_targets = self.folded.messages[depth], self._at_targets(block, targets)
        bias = layer.constant(depth, block, self.folded.context)
        for tile in tiles:
            u = self._hidden(block, tile, self._features(block, tile), at_targets, targets.start)
            both = bias if u is None else torch.addmm(bias, u, layer.columns(u).T)
            scale, shift = both.float().expand(tile.shape[0] * tile.shape[1], -1).split(d, dim=1)
            place = shifted(tile.target, targets.start)
            message = (self.y[within(block.source, tile.source)] + z[place]) * scale + shift
            if isinstance(place, Tensor):  # a target may be met more than once
                out.index_add_(0, place, message)
            else:
                out[place] += message

    def _features(self, block: Block, tile: Tile | Picked) -> Float[Tensor, "edges inputs"] | None:
        return None if block.weight is None else self._read(block, tile)[1]

    def _add_rectangles(
        self,
        block: Block,
        targets: slice,
        z: Float[Tensor, "targets hidden"],
        out: Float[Tensor, "targets hidden"],
    ) -> None:
        """Add a dense block's messages: sum_s scale*(y_s + z_t) + shift, of which only scale*y_s needs d^2 an edge."""
        depth, d = len(self._ends), z.shape[1]
        layer, at_targets = self.folded.messages[depth], self._at_targets(block, targets)
        bias, count = layer.constant(depth, block, self.folded.context), block.source.size
        of_sources = self._sums[block.source] * bias[:d]
        if block.weight is None and not depth:
            scale, shift = (count * bias).float().split(d)
            out += of_sources + z * scale + shift
            return
        inputs = d if depth else block.features * self.folded.context
        contracts = self.scratch.outer.numel() >= inputs * d and count >= inputs
        size, most, add_up = self.chunk, targets.stop - targets.start, self._weighted
        if contracts:
            most, add_up = self.scratch.outer.numel() // (inputs * d), self._contracted
            size = size if depth else self.scratch.raw.numel() // inputs  # more edges where none has a hidden state
        for column in cuts(targets, most):
            place = shifted(column, targets.start)
            weighted, total = add_up(block, self._tiles(block, size, column), at_targets, column, targets.start)
            scale, shift = torch.addmm(bias, total, layer.columns(total).T, beta=count).float().split(d, dim=1)
            out[place] += weighted.add_(of_sources).addcmul_(z[place], scale).add_(shift)

    def _tiles(self, block: Block, size: int, targets: slice) -> list[Tile]:
        """Tiles in the order of their sources: the next one often reads what lies beside the last one in the cache."""
        return sorted(self.reader.tiles(block, size, targets), key=lambda tile: tile.source.start)

    def _weighted(
        self,
        block: Block,
        tiles: list[Tile],
        at_targets: Sequence[Float[Tensor, "targets_of_part hidden"]],
        targets: slice,
        first: int,
    ) -> tuple[Float[Tensor, "targets hidden"], Float[Tensor, "targets inputs"]]:
        """Sums over sources of (M u)*y_s and of u at some targets; M is the weight of ``scale``."""
        d, width = self.y.shape[1], targets.stop - targets.start
        weight = self.folded.messages[len(self._ends)].weight[:d]
        weighted = self.x.new_zeros(width, d)
        total = self.y.new_zeros(width, d if at_targets else block.features * self.folded.context)
        for tile in tiles:
            u = self._hidden(block, tile, self._features(block, tile), at_targets, first)
            assert u is not None
            place, y = shifted(tile.target, targets.start), self.y[within(block.source, tile.source)]
            product = torch.mm(u, weight[:, : u.shape[1]].T, out=self._spare(len(u)))
            weighted[place] += product.view(*tile.shape, d).mul_(y[:, None]).sum(0, dtype=torch.float32)
            total[place] += u.view(*tile.shape, -1).sum(0)
        return weighted, total

    def _contracted(
        self,
        block: Block,
        tiles: list[Tile],
        at_targets: Sequence[Float[Tensor, "targets_of_part hidden"]],
        targets: slice,
        first: int,
    ) -> tuple[Float[Tensor, "targets hidden"], Float[Tensor, "targets inputs"]]:
        """The same, channel i as sum_j M_ij (sum_s y_s u_s')_ij.

        The inner sum is one matrix product, as much work as M u and none element by element. It pays where each target
        has more sources than u has channels.
        """
        depth, d, width = len(self._ends), self.y.shape[1], targets.stop - targets.start
        inputs = d if at_targets else block.features * self.folded.context
        weight = self.folded.messages[depth].weight[:d, :inputs]
        total = self.y.new_zeros(width, inputs)
        outer = self.scratch.outer[: d * width * inputs].view((d, -1) if depth else (-1, d))
        for tile in tiles:
            u = self._hidden(block, tile, self._features(block, tile), at_targets, first)
            assert u is not None
            place, y = shifted(tile.target, targets.start), self.y[within(block.source, tile.source)]
            flat = u.view(len(y), -1)
            total[place] += flat.sum(0).view(-1, inputs)
            columns = slice(place.start * inputs, place.stop * inputs)
            part = outer[:, columns] if depth else outer[columns]
            pair = (y.T, flat) if depth else (flat.T, y)  # with few columns the latter is several times as fast
            torch.addmm(part, *pair, beta=min(tile.source.start, 1), out=part)
        outer = outer.view(d, -1, inputs) if depth else outer.view(-1, inputs, d).permute(2, 0, 1)
        return outer.mul_(weight[:, None]).sum(-1).T, total

    def write(self, inflow: Inflow, k: int, unscale: UnscaleMode, out: Float[Tensor, " params"]) -> None:
        """Add the unscaled updates of all weights into a range of targets to ``out``, which holds the last states."""
        folded = self.folded
        for _, block, targets in inflow.parts:
            if block.weight is None:
                continue
            at_targets = self._at_targets(block, targets)
            bias = folded.out.constant(len(at_targets), block, folded.context)
            last, shift = folded.last[: block.features, k - 1].T, folded.last_bias[: block.features, k - 1]
            gain, pull = self.reader.parameter(block)[1].undo(unscale)
            for tile in self._tiles(block, self.chunk, targets):
                exact, features = self._read(block, tile)
                u = self._hidden(block, tile, features, at_targets, targets.start)
                assert u is not None
                h = silu(torch.addmm(bias, u, folded.out.columns(u).T, out=self._spare(len(u))), inplace=True)
                update = torch.addmm(shift, h, last).float().mul_(gain)
                if pull:
                    update.add_(exact[:, folded.context - 1 :: folded.context], alpha=pull)
                add_update(out, block, tile, update)
