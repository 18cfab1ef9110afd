"""Blocks cut into tiles, and nodes cut into ranges of targets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nino.graphs import neural_graph
from nino.nowcasters.engines.tiles import LINE, SHARES, all_blocks, inflows, tiles


def mlp(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)))


@pytest.mark.parametrize("size", [None, 50, 300, 10**9])
def test_ranges_hold_every_edge_once(size: int | None) -> None:
    graph = neural_graph(mlp(7, 40, 3))
    ranges = inflows(graph, size)
    assert [i.nodes.start for i in ranges[1:]] == [i.nodes.stop for i in ranges[:-1]]
    assert ranges[0].nodes.start == 0 and ranges[-1].nodes.stop == graph.num_nodes
    met = [torch.zeros(block.target.size) for block in all_blocks(graph)]
    for inflow in ranges:
        for index, block, targets in inflow.parts:
            met[index][targets] += 1
            first = block.target.start
            assert inflow.nodes.start <= first + targets.start and first + targets.stop <= inflow.nodes.stop
    assert all(bool((count == 1).all()) for count in met)


def test_targets_with_many_edges_go_together_where_enough_ranges_are_left() -> None:
    def widest(outputs: int) -> int:
        ranges = inflows(neural_graph(mlp(200, outputs)), 160)  # each output alone has more edges than a range
        return max(i.nodes.stop - i.nodes.start for i in ranges if i.nodes.start >= 200)

    assert widest(2 * SHARES) <= 2
    assert widest(LINE * SHARES * 2) == LINE


def test_tiles_hold_every_edge_once() -> None:
    (block,) = [b for b in neural_graph(mlp(30, 20)).blocks if b.weight is not None and b.source.size == 30]
    met = torch.zeros(30, 20)
    for tile in tiles(block, 64, targets=slice(3, 17)):
        assert tile.num_edges <= 64
        met[tile.source, tile.target] += 1
    assert bool((met[:, 3:17] == 1).all()) and met.sum() == 30 * 14


@pytest.mark.parametrize("room", [64, 200, 10**6])
def test_wide_tiles_are_read_whole_and_computed_in_parts(room: int) -> None:
    (block,) = [b for b in neural_graph(mlp(30, 20)).blocks if b.weight is not None and b.source.size == 30]
    met = torch.zeros(20, 30)
    for whole in tiles(block, 64, narrow=4, targets=slice(3, 17), room=room):
        assert whole.num_edges <= room
        by_target = torch.zeros(whole.shape[::-1])  # edges with the same target side by side
        for part, edges in whole.parts(64):
            assert part.num_edges <= 64 and part.source == whole.source
            by_target.view(-1)[edges] += part.target.start + torch.arange(part.shape[1]).repeat_interleave(
                part.shape[0]
            )
        met[whole.target, whole.source] += by_target
    assert torch.equal(met[3:17], torch.arange(3.0, 17.0)[:, None].expand(-1, 30)) and met.sum() == met[3:17].sum()
