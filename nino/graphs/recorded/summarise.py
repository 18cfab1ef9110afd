"""A neural graph in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nino.graphs.graph import NeuralGraph


def summary(graph: NeuralGraph) -> str:
    """Groups, blocks, share of the parameters on edges, and what is carried and why, one parameter a line."""
    carried = [p for p in graph.parameters if p.name in set(graph.carried)]
    share = 1 - sum(p.numel for p in carried) / max(graph.num_parameters, 1)
    lines = [
        f"neural graph ({graph.topology}): {graph.num_nodes} nodes in {len(graph.groups)} groups, "
        f"{len(graph.blocks)} blocks; {share:.1%} of {graph.num_parameters} parameters on edges, "
        f"{len(carried)} of {len(graph.parameters)} tensors carried"
    ]
    for p in carried:
        lines.append(f"  carried: {p.name} {p.shape}: {graph.reasons.get(p.name, 'no declaration places it')}")
    return "\n".join(lines)
