from __future__ import annotations

from collections.abc import Iterator

import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from torch import nn

from nino.drawing import styled
from nino.graphs import Block, EdgeType, NeuralGraph, Nodes, WeightView, neural_graph
from nino.graphs.pictures import (
    COLOURS,
    adjacency_figure,
    graph_sentence,
    group_of,
    layers,
    layers_figure,
    place_groups,
)


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with styled():
        yield


@pytest.fixture
def convnet() -> NeuralGraph:
    return neural_graph(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 20, 3), nn.Flatten(), nn.Linear(20, 10))
    )


@pytest.fixture
def attention() -> NeuralGraph:
    """A residual block in small: stream x, queries and values in one group, stream y."""
    x, qv, y = Nodes(0, 4), Nodes(4, 8), Nodes(12, 4)

    def dense(name: str, source: Nodes, target: Nodes, kind: EdgeType) -> Block:
        return Block(name, source, target, kind, "dense", WeightView(0, (4, 1, 1)))

    blocks = (
        dense("query", x, qv[:4], EdgeType.QUERY),
        dense("key", qv[:4], x, EdgeType.KEY),
        dense("value", x, qv[4:], EdgeType.VALUE),
        dense("out", qv[4:], y, EdgeType.LINEAR),
        Block("x->y", x, y, EdgeType.RESIDUAL, "diagonal"),
    )
    return NeuralGraph({"x": x, "qv": qv, "y": y}, blocks, (), 16)


def test_adjacency_draws_every_block_where_its_edges_are(convnet: NeuralGraph) -> None:
    axes = adjacency_figure(convnet).axes[0]
    drawn = {
        (p.get_x(), p.get_y(), p.get_width(), p.get_height(), to_hex(p.get_facecolor()))
        for p in axes.patches
        if isinstance(p, Rectangle)
    }
    assert drawn == {
        (b.target.start, b.source.start, b.target.size, b.source.size, COLOURS[b.edge_type].lower())
        for b in convnet.blocks
    }


def test_all_edge_types_that_occur_have_a_colour_of_their_own() -> None:
    kinds = set(EdgeType) - {EdgeType.PADDING, EdgeType.RESERVED}
    assert set(COLOURS) == kinds and len(set(COLOURS.values())) == len(kinds)


def test_layers_follow_the_signal(convnet: NeuralGraph, attention: NeuralGraph) -> None:
    for graph in (convnet, attention):
        depth = layers(graph)
        for block in graph.blocks:
            if block.edge_type is not EdgeType.KEY:
                assert depth[group_of(graph, block.source)] < depth[group_of(graph, block.target)]
        assert sorted(set(depth.values())) == list(range(max(depth.values()) + 1))


def test_a_cycle_is_drawn_all_the_same() -> None:
    a, b = Nodes(0, 2), Nodes(2, 2)
    blocks = tuple(
        Block(name, s, t, EdgeType.LINEAR, "dense", WeightView(0, (2, 1, 1)))
        for name, s, t in (("ab", a, b), ("ba", b, a))
    )
    graph = NeuralGraph({"a": a, "b": b}, blocks, (), 4)
    layers_figure(graph).canvas.draw()


def test_no_two_nodes_are_drawn_on_one_spot(convnet: NeuralGraph, attention: NeuralGraph) -> None:
    for graph in (convnet, attention):
        spots = [point for place in place_groups(graph).values() for _, point in place.drawn(place.nodes)]
        assert len(spots) == len(set(spots))


def test_drawings_can_be_made_and_name_their_groups(convnet: NeuralGraph, attention: NeuralGraph) -> None:
    figure = layers_figure(convnet)
    figure.canvas.draw()
    assert any("20 nodes" in text.get_text() for text in figure.axes[0].texts)
    layers_figure(attention).canvas.draw()
    adjacency_figure(attention).canvas.draw()


def test_sentence_counts(attention: NeuralGraph) -> None:
    assert graph_sentence(attention).startswith("16 nodes in 3 groups, joined by 5 blocks with 84 edges")


def test_nodes_of_no_group_are_refused(attention: NeuralGraph) -> None:
    with pytest.raises(ValueError, match="none of the graph's groups: x, qv, y"):
        group_of(attention, Nodes(99, 1))


def test_names_in_a_large_graph_do_not_overlap() -> None:
    graph = neural_graph(nn.Sequential(*(nn.Linear(400, 400) for _ in range(14))))
    figure = layers_figure(graph)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 15
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
