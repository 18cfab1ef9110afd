"""Whether two weightings of a graph are the same up to a renumbering of nodes that keeps fixed groups in order.

Colour refinement: nodes start with equal colours, but for nodes of fixed groups, which each have their own. A node's
colour is then mixed with the sum over its edges of a hash of (direction, type, weights, neighbour's colour), until the
number of colours stays. Isomorphic graphs always get equal colours, so that unequal ones prove the opposite; where
every node has a colour of its own the renumbering can be read off and is checked edge by edge.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nino.graphs import NeuralGraph

Ints = np.ndarray


def isomorphic(graph: NeuralGraph, first: Tensor, second: Tensor) -> bool:
    """Whether the graph with parameters ``first`` (P,) is the graph with parameters ``second``, renumbered."""
    edges, labels_a, labels_b = graph.edge_index().numpy(), _labels(graph, first), _labels(graph, second)
    colours_a, colours_b = _refine(graph, edges, labels_a), _refine(graph, edges, labels_b)
    if not np.array_equal(np.sort(colours_a), np.sort(colours_b)):
        return False
    assert len(np.unique(colours_a)) == graph.num_nodes, "equal nodes are left: draw weights that are all different"
    to = np.empty(graph.num_nodes, dtype=np.int64)
    to[np.argsort(colours_a)] = np.argsort(colours_b)
    for name in graph.fixed:
        nodes = np.arange(graph.groups[name].start, graph.groups[name].stop)
        assert np.array_equal(to[nodes], nodes)
    rows_a = np.stack([to[edges[0]].astype(np.uint64), to[edges[1]].astype(np.uint64), labels_a], axis=1)
    rows_b = np.stack([edges[0].astype(np.uint64), edges[1].astype(np.uint64), labels_b], axis=1)
    return np.array_equal(rows_a[np.lexsort(rows_a.T)], rows_b[np.lexsort(rows_b.T)])


def _labels(graph: NeuralGraph, parameters: Tensor) -> Ints:
    """A hash of type and weights of each edge (E,)."""
    features = graph.edge_features(parameters.double().unsqueeze(1)).numpy().view(np.uint64)
    labels = _mix(graph.edge_types().numpy().astype(np.uint64))
    for column in features.T:
        labels = _mix(labels ^ column)
    return labels


def _refine(graph: NeuralGraph, edges: Ints, labels: Ints) -> Ints:
    colours = np.zeros(graph.num_nodes, dtype=np.uint64)
    for i, name in enumerate(sorted(graph.fixed)):
        nodes = graph.groups[name]
        colours[nodes.slice] = _mix(np.arange(nodes.size, dtype=np.uint64) + np.uint64(1 + (i << 32)))
    count = 0
    while len(np.unique(colours)) > count:
        count = len(np.unique(colours))
        sums = colours.copy()
        np.add.at(sums, edges[1], _mix(labels ^ _mix(colours[edges[0]])))
        np.add.at(sums, edges[0], _mix(~labels ^ _mix(colours[edges[1]])))
        colours = _mix(sums)
    return colours


def _mix(x: Ints) -> Ints:
    """Splitmix64: a bijective hash of 64-bit integers."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def flat(model: torch.nn.Module) -> Tensor:
    """The model's parameters as one vector."""
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])
