"""The released topology, against the golden vectors."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from nino.graphs import neural_graph
from nino.graphs.laplacian import BlockAdjacency, block_ranges

Golden = tuple[str, dict[str, np.ndarray], nn.Module]


def _rows(edges: np.ndarray, types: np.ndarray, features: np.ndarray) -> np.ndarray:
    """(source, target, type, features) of all edges, sorted."""
    table = np.concatenate([edges.T, types[:, None], features], axis=1).astype(np.float64)
    return table[np.lexsort(table.T[::-1])]


def test_every_parameter_lies_on_the_golden_edge(golden: Golden) -> None:
    _, data, model = golden
    graph = neural_graph(model)
    assert [p.name for p in graph.parameters] == data["param_names"].tolist()
    if "param_edge" in data:
        edge, position = data["param_edge"], data["param_position"]
    else:
        edge, position = np.divmod(data["param_edge_slot"], int(data["max_feat_size"]))
    # The identity is the bijection of nodes: ours are numbered as the released ones.
    np.testing.assert_array_equal(graph.endpoints().numpy(), data["edge_index"][:, edge].T)
    own_edge, own_position = graph.parameter_slots()
    np.testing.assert_array_equal(own_position.numpy(), position)
    np.testing.assert_array_equal(graph.edge_types()[own_edge].numpy(), data["edge_type"][edge])


def test_edges_and_features_are_the_golden_ones(golden: Golden) -> None:
    _, data, model = golden
    graph = neural_graph(model)
    assert graph.num_nodes == int(data["num_nodes"])
    states = torch.from_numpy(data["states"])
    features = data.get("edge_attr", np.zeros((graph.num_edges, 0)))
    own = graph.edge_features(states).numpy() if "edge_attr" in data else features
    ours = _rows(graph.edge_index().numpy(), graph.edge_types().numpy(), own)
    np.testing.assert_array_equal(ours, _rows(data["edge_index"], data["edge_type"], features))
    if "pos_w" in data:
        np.testing.assert_array_equal(graph.word_index().numpy(), data["pos_w"])


def test_golden_positions_are_eigenvectors_of_ours(golden: Golden) -> None:
    """The golden positions solve our eigenvalue equation; each lies in our eigenspace of its eigenvalue."""
    _, data, model = golden
    graph = neural_graph(model)
    adjacency = BlockAdjacency(graph.num_nodes, block_ranges(graph.blocks)) @ np.eye(graph.num_nodes)
    scale = adjacency.sum(axis=1) ** -0.5
    laplacian = np.eye(graph.num_nodes) - scale[:, None] * adjacency * scale
    theirs, ours = data["pos"].astype(np.float64), graph.lpe().numpy().astype(np.float64)
    eigenvalues = (theirs * (laplacian @ theirs)).sum(axis=0)
    assert np.abs(laplacian @ theirs - theirs * eigenvalues).max() < 1e-6
    values, vectors = np.linalg.eigh(laplacian)
    own = (ours * (laplacian @ ours)).sum(axis=0)
    np.testing.assert_allclose(own, values[1:9], atol=1e-6)  # with multiplicity: the golden ones skip some copies
    for vector, value in zip(theirs.T, eigenvalues, strict=True):
        space = vectors[:, np.abs(values - value) < 1e-4]
        assert np.linalg.norm(space.T @ vector) > 1 - 1e-5
        inside = ours[:, np.abs(own - value) < 1e-4]
        if inside.shape[1] == space.shape[1]:  # an eigenspace that the cut at 8 leaves whole
            assert np.linalg.norm(inside.T @ vector) > 1 - 1e-5
