"""A neural graph in a few lines."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nino.graphs.graph import NeuralGraph

UNPLACED = "no declaration places it"
UNREAD = "no operation reads it"


def summary(graph: NeuralGraph) -> str:
    """Groups, blocks, share of the parameters on edges, what is carried and why; then one carried parameter a line."""
    names = set(graph.carried)
    carried = [p for p in graph.parameters if p.name in names]
    share = 1 - sum(p.numel for p in carried) / max(graph.num_parameters, 1)
    reasons = Counter(graph.reasons.get(p.name, UNPLACED) for p in carried)
    why = "; ".join(f"{count} because {reason}" for reason, count in reasons.most_common())
    first = (
        f"neural graph ({graph.topology}, {graph.origin}): {graph.num_nodes} nodes in {len(graph.groups)} groups, "
        f"{len(graph.blocks)} blocks; {share:.1%} of {graph.num_parameters} parameters on edges, "
        f"{len(carried)} of {len(graph.parameters)} tensors carried{why and f': {why}'}"
    )
    rest = (f"  carried: {p.name} {p.shape}: {graph.reasons.get(p.name, UNPLACED)}" for p in carried)
    return "\n".join([first, *rest])
