"""Pictures of a neural graph, drawn from its blocks: the adjacency by edge type, and a layered drawing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from nino.drawing import BLUE, COLUMN, GREEN, ORANGE, PAGE, PINK, RED, legend_below, new_figure
from nino.graphs import Block, EdgeType, NeuralGraph, Nodes

COLOURS = {
    EdgeType.LINEAR: BLUE,
    EdgeType.BIAS: "#8c8c8c",
    EdgeType.CONV: "#56B4E9",
    EdgeType.NORM: "#000000",
    EdgeType.WORD_EMBEDDING: GREEN,
    EdgeType.POSITION_EMBEDDING: "#B8860B",
    EdgeType.QUERY: RED,
    EdgeType.KEY: ORANGE,
    EdgeType.VALUE: PINK,
    EdgeType.RESIDUAL: "#6A3D9A",
    EdgeType.HEAD: "#882255",
    EdgeType.SELF_LOOP: "#c4c4c4",
}
LABEL_BOX = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
SHOWN_NODES = 8  # of a group, in the layered drawing
UPRIGHT_COLUMNS = 9  # of a layered drawing; in more of them names stand on end, so that they do not overlap
LABELLED_SHARE = 0.035  # of all nodes that a group needs for its name to fit beside the adjacency


@dataclass(frozen=True)
class Place:
    """Where a group stands in the layered drawing.

    Args:
        nodes: its nodes.
        column: its layer, from 0.
        bottom: height of its first drawn node.
    """

    nodes: Nodes
    column: int
    bottom: float

    @property
    def count(self) -> int:
        """Nodes that are drawn: all, or so many spread evenly over the group."""
        return min(self.nodes.size, SHOWN_NODES)

    def drawn(self, part: Nodes) -> list[tuple[int, tuple[float, float]]]:
        """Drawn nodes that lie in ``part``, each with its position; at least one for any part."""
        indices = np.linspace(0, self.nodes.size - 1, self.count).round().astype(int) + self.nodes.start
        # First node on top, as layers are usually drawn.
        points = [(int(node), (float(self.column), self.bottom + self.count - 1 - i)) for i, node in enumerate(indices)]
        inside = [(node, point) for node, point in points if part.start <= node < part.stop]
        middle = (part.start + part.stop - 1) / 2
        return inside or [min(points, key=lambda item: abs(item[0] - middle))]


def graph_sentence(graph: NeuralGraph) -> str:
    """How large a graph is."""
    return (
        f"{graph.num_nodes:,} nodes in {len(graph.groups)} groups, joined by {len(graph.blocks)} blocks with "
        f"{graph.num_edges:,} edges (self-loops included), which carry {graph.num_parameters:,} parameters."
    )


def adjacency_figure(graph: NeuralGraph) -> Figure:
    """The adjacency matrix: a row per source, a column per target, coloured by edge type.

    Args:
        graph: any neural graph; a block is one rectangle, so that its size costs nothing.
    """
    figure = new_figure(COLUMN, 3.9)
    axes = figure.add_subplot()
    n = graph.num_nodes
    axes.plot([0, n], [0, n], color=COLOURS[EdgeType.SELF_LOOP], linewidth=0.7, zorder=1)
    for block in graph.blocks:
        colour = COLOURS[block.edge_type]
        left, top = block.target.start, block.source.start
        if block.kind == "diagonal":
            size = block.source.size
            axes.plot([left, left + size], [top, top + size], color=colour, linewidth=1.2, zorder=3)
        else:  # the outline keeps a block of one row visible among hundreds
            axes.add_patch(
                Rectangle((left, top), block.target.size, block.source.size, facecolor=colour, edgecolor=colour, lw=0.7)
            )
    axes.set(xlim=(-0.01 * n, 1.01 * n), ylim=(1.01 * n, -0.01 * n), aspect="equal")
    axes.grid(False)
    _group_ticks(axes, graph)
    axes.set_xlabel("target node")
    axes.set_ylabel("source node")
    _type_legend(figure, graph, with_loops=True)
    return figure


def layers_figure(graph: NeuralGraph) -> Figure:
    """Neurons in columns, layer by layer; at most eight of a group are drawn, lines coloured by edge type."""
    columns = 1 + max(layers(graph).values())
    crowded = columns > UPRIGHT_COLUMNS
    places = place_groups(graph, 9.0 if crowded else 4.0)
    heights = [place.bottom + place.count for place in places.values()]
    lowest = min(place.bottom for place in places.values())
    figure = new_figure(min(PAGE, max(COLUMN, 0.8 * columns + 0.4)), 1.1 + 0.11 * (max(heights) - lowest))
    axes = figure.add_subplot()
    for block in graph.blocks:
        lines = _block_lines(block, places)
        alpha = 0.9 if block.kind == "diagonal" else 0.45
        # Key edges run back along the query edges: dashes let these show.
        style = (0, (3, 3)) if block.edge_type is EdgeType.KEY else "solid"
        axes.add_collection(
            LineCollection(
                lines, colors=COLOURS[block.edge_type], linewidths=0.5, alpha=alpha, linestyles=[style], zorder=1
            )
        )
    for name, place in places.items():
        points = [point for _, point in place.drawn(place.nodes)]
        small = place.nodes.size == 1
        axes.plot(*zip(*points, strict=True), "o", color="#333333", ms=2.2 if small else 3.2, mec="white", mew=0.3)
        if not small or not any(block.target == place.nodes for block in graph.blocks) and name in graph.fixed:
            hidden = "" if place.nodes.size == place.count else f"{' ' if crowded else chr(10)}{place.nodes.size} nodes"
            axes.text(
                place.column,
                place.bottom + place.count - 0.2,
                f"{short_name(name)}{hidden}",
                bbox=LABEL_BOX,
                fontsize=6,
                ha="center",
                va="bottom",
                rotation=90 if crowded else 0,
            )
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(lowest - 1, max(heights) + (9.0 if crowded else 1.5)))
    axes.axis("off")
    _type_legend(figure, graph, with_loops=False)
    return figure


def place_groups(graph: NeuralGraph, gap: float = 4.0) -> dict[str, Place]:
    """A place for every group: its layer, and a height at which it hides no other.

    The residual stream stands at the bottom, what branches off it above, single nodes (biases, norms) below.

    Args:
        graph: any neural graph.
        gap: height that is left above a group, for its name.
    """
    column = layers(graph)
    stream = {
        name
        for block in graph.blocks
        if block.edge_type is EdgeType.RESIDUAL
        for name in (group_of(graph, block.source), group_of(graph, block.target))
    }
    places: dict[str, Place] = {}
    above: dict[int, float] = {}
    below: dict[int, float] = {}
    for name, nodes in sorted(graph.groups.items(), key=lambda item: (item[0] not in stream, item[1].start)):
        at = column[name]
        count = min(nodes.size, SHOWN_NODES)
        if nodes.size == 1 and name not in graph.fixed:
            below[at] = below.get(at, -0.5) - 1.5
            places[name] = Place(nodes, at, below[at])
            continue
        start = above.get(at, SHOWN_NODES + gap if stream and name not in stream else 0.0)
        # Short groups are centred on the height of full ones, so that lines between layers fan out evenly.
        bottom = start + (SHOWN_NODES - count) / 2
        places[name] = Place(nodes, at, bottom)
        above[at] = start + SHOWN_NODES + gap
    return places


def layers(graph: NeuralGraph) -> dict[str, int]:
    """The layer of each group: its longest path from an input; a group that nothing feeds stands before its target.

    Key edges point back from the query neurons and do not count.
    """
    forward = [
        (group_of(graph, block.source), group_of(graph, block.target))
        for block in graph.blocks
        if block.edge_type is not EdgeType.KEY
    ]
    depth = dict.fromkeys(graph.groups, 0)
    for _ in graph.groups:  # as many rounds as a path can be long: ends also where a cycle is left
        moved = False
        for source, target in forward:
            if depth[target] < depth[source] + 1 <= len(graph.groups):
                depth[target] = depth[source] + 1
                moved = True
        if not moved:
            break
    fed = {target for _, target in forward}
    for name in graph.groups:
        if name not in fed and (targets := [depth[target] for source, target in forward if source == name]):
            depth[name] = max(min(targets) - 1, 0)
    used = sorted(set(depth.values()))  # close gaps
    return {name: used.index(value) for name, value in depth.items()}


def group_of(graph: NeuralGraph, nodes: Nodes) -> str:
    """The group that a range of nodes belongs to.

    Raises:
        ValueError: for nodes that lie in no group.
    """
    for name, group in graph.groups.items():
        if group.start <= nodes.start < group.stop:
            return name
    raise ValueError(f"`nodes` (={nodes}) lie in none of the graph's groups: {', '.join(graph.groups)}")


def short_name(name: str) -> str:
    """A group's name as it fits into a picture.

    >>> short_name("attention.0.qv"), short_name("x.0")
    ('qv.0', 'x.0')
    """
    parts = name.split(".")
    return f"{parts[-1]}.{parts[-2]}" if len(parts) > 2 and parts[-2].isdigit() else name


def _block_lines(block: Block, places: dict[str, Place]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    source, target = (
        next(place for place in places.values() if place.nodes.start <= part.start < place.nodes.stop)
        for part in (block.source, block.target)
    )
    sources, targets = source.drawn(block.source), target.drawn(block.target)
    if block.kind == "diagonal":
        return [(a, b) for (_, a), (_, b) in zip(sources, targets, strict=False)]
    return [(a, b) for (_, a), (_, b) in product(sources, targets)]


def _group_ticks(axes: Axes, graph: NeuralGraph) -> None:
    """Name groups that are large enough beside the matrix."""
    large = {n: g for n, g in graph.groups.items() if g.size >= LABELLED_SHARE * graph.num_nodes}
    middles = [group.start + group.size / 2 for group in large.values()]
    names = [short_name(name) for name in large]
    axes.set_yticks(middles, names, fontsize=6)
    axes.set_xticks(middles, names, fontsize=6, rotation=90)
    axes.tick_params(length=2)


def _type_legend(figure: Figure, graph: NeuralGraph, with_loops: bool) -> None:
    used = {block.edge_type for block in graph.blocks} | ({EdgeType.SELF_LOOP} if with_loops else set())
    types = sorted(used)
    handles = [Line2D([], [], color=COLOURS[kind], linewidth=3) for kind in types]
    labels = [kind.name.lower().replace("_", " ") for kind in types]
    legend_below(figure, handles, labels, most=6, handlelength=1.0, columnspacing=1.0, fontsize=6.5)
