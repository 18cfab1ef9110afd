"""The passes of the streamed engine: every range of target nodes by itself, tile by tile.

A range's messages are summed by one thread in a fixed order and then update its nodes, so that no two threads write
to the same place and their number does not change a bit. Processes that share the graph sum those of their own edges,
add the sums up over all of them, and then update all nodes each.

Dimension names as in ``nino.nowcasters.network``; a tile has ``sources`` x ``targets`` edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from nino.graphs import Block, NeuralGraph, Nodes
from nino.nowcasters.engines.edge_states import EdgeStates
from nino.nowcasters.engines.fold import Folded, NodeLayer
from nino.nowcasters.engines.reader import Reader, add_update
from nino.nowcasters.engines.sample import EdgeSample, Picked
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
        self.edges = EdgeStates(folded, reader, chunk, features)
        self._sums: dict[Nodes, Tensor] = {}
        self._degree = (degrees(graph) if sample is None else sample.degrees(graph)).to(x.device)

    # -- nodes -------------------------------------------------------------------------------------------------------

    def convolve(self, ranges: Sequence[Inflow]) -> None:
        """One convolution: messages, new node states, and what later passes read of them at both ends."""
        layer = self.layers[len(self.edges.ends)]
        self.workers.run(lambda inflow: _map(self.x[inflow.nodes], layer.source, self.y[inflow.nodes]), ranges)
        self._sums = self._sums_of_sources()
        # after the last convolution nothing reads x
        spent = self.x if layer is self.layers[-1] and self.x.dtype == self.y.dtype else torch.empty_like(self.y)
        ends = torch.empty_like(self.y), spent

        def update(nodes: slice, total: Float[Tensor, "targets hidden"]) -> None:
            x = torch.addmm(layer.bias, self.x[nodes], layer.keep.T)
            x = silu(x.addmm_(total.div_(self._degree[nodes]), layer.gather.T), inplace=True)
            self.x[nodes] = x
            _map(x, layer.end_source, ends[0][nodes])
            _map(x, layer.end_target, ends[1][nodes])

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
        self.edges.ends.append(ends)

    def _sums_of_sources(self) -> dict[Nodes, Tensor]:
        """Sums of y over the sources of every dense block."""
        groups = list({block.source: None for block in self.blocks if block.kind == "dense"})
        sums = self.workers.map(lambda nodes: self.y[nodes.slice].sum(0, dtype=torch.float32), groups)
        return dict(zip(groups, sums, strict=True))

    # -- messages ------------------------------------------------------------------------------------------------------

    def _messages(self, inflow: Inflow) -> Float[Tensor, "targets hidden"]:
        """Sums of the messages of a convolution at a range of targets, float32."""
        layer = self.layers[len(self.edges.ends)]
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
        depth, d = len(self.edges.ends), z.shape[1]
        layer, at_targets = self.folded.messages[depth], self.edges.at_targets(block, targets)
        bias = layer.constant(depth, block, self.folded.context)
        for tile in tiles:
            u = self.edges.hidden(block, tile, self.edges.read(block, tile)[1], at_targets, targets.start)
            both = bias if u is None else torch.addmm(bias, u, layer.columns(u).T)
            scale, shift = both.float().expand(tile.shape[0] * tile.shape[1], -1).split(d, dim=1)
            place = shifted(tile.target, targets.start)
            message = torch.addcmul(shift, self.y[within(block.source, tile.source)] + z[place], scale)
            if isinstance(place, Tensor):  # a target may be met more than once
                out.index_add_(0, place, message)
            else:
                out[place].add_(message)

    def _add_rectangles(
        self,
        block: Block,
        targets: slice,
        z: Float[Tensor, "targets hidden"],
        out: Float[Tensor, "targets hidden"],
    ) -> None:
        """Add a dense block's messages: sum_s scale*(y_s + z_t) + shift, of which only scale*y_s needs d^2 an edge."""
        depth, d = len(self.edges.ends), z.shape[1]
        layer, at_targets = self.folded.messages[depth], self.edges.at_targets(block, targets)
        bias, count = layer.constant(depth, block, self.folded.context), block.source.size
        of_sources = self._sums[block.source] * bias[:d]
        if block.weight is None and not depth:
            scale, shift = (count * bias).float().split(d)
            out += of_sources + z * scale + shift
            return
        inputs = d if depth else block.features * self.folded.context
        contracts = self.edges.scratch.outer.numel() >= inputs * d and count >= inputs
        size, room = self.chunk, self.edges.room(block)
        most, add_up = targets.stop - targets.start, self._weighted
        if contracts:
            most, add_up = self.edges.scratch.outer.numel() // (inputs * d), self._contracted
            size = size if depth else room  # more edges where none has a hidden state
        for some in cuts(targets, most):
            for column, tiles in groupby(self.reader.tiles(block, size, some, room), lambda tile: tile.target):
                place = shifted(column, targets.start)
                hidden = self.edges.parts(block, tiles, size, at_targets, targets.start)
                weighted, total = add_up(block, hidden, inputs, column)
                scale, shift = torch.addmm(bias, total, layer.columns(total).T, beta=count).float().split(d, dim=1)
                out[place].add_(weighted).add_(of_sources).addcmul_(z[place], scale).add_(shift)

    def _weighted(
        self, block: Block, hidden: Iterator[tuple[Tile, Float[Tensor, "edges inputs"]]], inputs: int, targets: slice
    ) -> tuple[Float[Tensor, "targets hidden"], Float[Tensor, "targets inputs"]]:
        """Sums over sources of (M u)*y_s and of u at some targets; M is the weight of ``scale``."""
        d, width = self.y.shape[1], targets.stop - targets.start
        weight = self.folded.messages[len(self.edges.ends)].weight[:d, :inputs].T
        weighted, total = self.x.new_zeros(width, d), self.y.new_zeros(width, inputs)
        for tile, u in hidden:
            place, y = shifted(tile.target, targets.start), self.y[within(block.source, tile.source)]
            product = torch.mm(u, weight, out=self.edges.spare(len(u))).view(-1, len(y), d)
            weighted[place].add_(product.mul_(y).sum(1, dtype=torch.float32))
            total[place].add_(u.view(-1, len(y), inputs).sum(1))
        return weighted, total

    def _contracted(
        self, block: Block, hidden: Iterator[tuple[Tile, Float[Tensor, "edges inputs"]]], inputs: int, targets: slice
    ) -> tuple[Float[Tensor, "targets hidden"], Float[Tensor, "targets inputs"]]:
        """The same, channel i as sum_j M_ij (sum_s u_s y_s')_ji.

        The inner sum is one matrix product, as much work as M u and none element by element. It pays where each target
        has more sources than u has channels.
        """
        depth, d, width = len(self.edges.ends), self.y.shape[1], targets.stop - targets.start
        weight = self.folded.messages[depth].weight[:d, :inputs].T
        total = self.y.new_zeros(width, inputs)
        outer = self.edges.scratch.outer[: width * inputs * d]
        for tile, u in hidden:
            place, y = shifted(tile.target, targets.start), self.y[within(block.source, tile.source)]
            at_target, beta = u.view(-1, len(y), inputs), min(tile.source.start, 1)
            total[place].add_(at_target.sum(1))
            if depth:
                product = outer.view(width, inputs, d)[place]
                torch.baddbmm(product, at_target.mT, y.expand(len(product), -1, -1), beta=beta, out=product)
            else:  # u_0 has the edges last, and the tile all targets
                product = outer.view(-1, d)
                torch.addmm(product, u.T.reshape(-1, len(y)), y, beta=beta, out=product)
        outer = outer.view(width, inputs, d) if depth else outer.view(inputs, width, d).transpose(0, 1)
        return outer.mul_(weight).sum(1), total

    def write(self, inflow: Inflow, k: int, unscale: UnscaleMode, out: Float[Tensor, " params"]) -> None:
        """Add the unscaled updates of all weights into a range of targets to ``out``, which holds the last states."""
        folded = self.folded
        for _, block, targets in inflow.parts:
            if block.weight is None:
                continue
            at_targets = self.edges.at_targets(block, targets)
            bias = folded.out.constant(len(at_targets), block, folded.context)
            last, shift = folded.last[: block.features, k - 1], folded.last_bias[: block.features, k - 1, None]
            gain, pull = self.reader.parameter(block)[1].undo(unscale)
            for whole in self.reader.tiles(block, self.chunk, targets, self.edges.room(block)):
                exact, features = self.edges.read(block, whole)
                assert exact is not None and features is not None
                update = exact.new_empty(block.features, whole.num_edges)
                for tile, edges in whole.parts(self.chunk):
                    u = self.edges.hidden(block, tile, features[edges], at_targets, targets.start)
                    assert u is not None
                    h = silu(torch.addmm(bias, u, folded.out.columns(u).T, out=self.edges.spare(len(u))), inplace=True)
                    update[:, edges] = torch.addmm(shift, last, h.T)
                update.mul_(gain)
                if pull:
                    update.add_(exact[:, -1], alpha=pull)
                add_update(out, block, whole, update)


def _map(x: Float[Tensor, "some hidden"], weight: Float[Tensor, "hidden hidden"], out: Float[Tensor, "some _"]) -> None:
    """Write ``weight @ x`` of some nodes to ``out``, whatever its precision."""
    if out.dtype == x.dtype:
        torch.mm(x, weight.T, out=out)
    else:
        out.copy_(x @ weight.T)
