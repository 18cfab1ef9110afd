"""What a graph is made of: groups, blocks, where each parameter lies; and the same as a list of edges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from nino.graphs.core import Block, EdgeType, Nodes, Parameter
from nino.graphs.windows import ends, window
from nino.ranks import Ranks

if TYPE_CHECKING:
    from torch_geometric.data import Data

UNPLACED = "no declaration places it"
UNREAD = "no operation reads it"


@dataclass(frozen=True, eq=False)
class GraphStructure:
    """Named groups of neurons joined by blocks of edges (NiNo paper, section 3.2).

    Cheap for models of any size: it holds a few hundred blocks and no edge list. Every node has a self-loop besides
    (type SELF_LOOP), which is not among the blocks. Edge lists, where asked for, are ordered block by block, source
    by source (edge ``s * T + t`` of a dense block), self-loops last.

    Args:
        groups: node range of each group of neurons.
        blocks: all edges but the self-loops.
        parameters: all named parameters in order.
        num_nodes: N.
        topology: ``released``, ``exact`` or ``naive``.
        fixed: groups whose order is part of the function (inputs, outputs, tokens, positions, rotary frequencies).
        word_nodes: nodes of the word embedding (or class token), if any.
        word_ids: their ids (long); None for 0, 1, ....
        carried: parameters that lie on no edge and are left to the base optimizer.
        buffers: (dimension, nodes along it) of each buffer that the forward writes; renumbered with the parameters.
        reasons: why each carried parameter lies on no edge, where that is known: the operation that stopped it.
        ranks: the processes that share the graph's edges; by default there is one.
        of: the whole graph, where this is a process's share of it; see ``nino.graphs.shares``.
        origin: where the graph comes from, in words: declared, traced, recorded, on which inputs.
    """

    groups: dict[str, Nodes]
    blocks: tuple[Block, ...]
    parameters: tuple[Parameter, ...]
    num_nodes: int
    topology: str = "released"
    fixed: frozenset[str] = frozenset()
    word_nodes: Nodes | None = None
    word_ids: Int[Tensor, " words"] | None = None
    carried: tuple[str, ...] = ()
    buffers: Mapping[str, tuple[tuple[int, Tensor], ...]] = field(default_factory=dict, repr=False)
    reasons: Mapping[str, str] = field(default_factory=dict, repr=False)
    ranks: Ranks = Ranks()
    of: GraphStructure | None = field(default=None, repr=False)
    origin: str = "declared"
    _cache: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def whole(self) -> GraphStructure:
        """The graph with the edges of all processes that share it."""
        return self.of or self

    @property
    def loops(self) -> Nodes:
        """The nodes whose self-loops are among this graph's edges: all, unless processes share them."""
        return Nodes(0, self.num_nodes)[self.ranks.cut(self.num_nodes)]

    @property
    def num_parameters(self) -> int:
        """Elements P of the flat parameter vector."""
        return self.parameters[-1].slice.stop if self.parameters else 0

    @property
    def num_edges(self) -> int:
        """Edges E, self-loops included."""
        return sum(block.num_edges for block in self.blocks) + self.num_nodes

    @property
    def features(self) -> int:
        """Kernel positions F of the widest edge."""
        return max((block.features for block in self.blocks), default=1)

    def word_index(self) -> Int[Tensor, " nodes"]:
        """Word id + 1 on the nodes of the word embedding, 0 elsewhere."""
        index = torch.zeros(self.num_nodes, dtype=torch.long)
        if self.word_nodes is not None:
            ids = torch.arange(self.word_nodes.size) if self.word_ids is None else self.word_ids
            index[self.word_nodes.slice] = ids + 1
        return index

    def summary(self) -> str:
        """A line on groups, blocks, and the share of parameters on edges; then each carried one, and why it is."""
        names = set(self.carried)
        carried = [p for p in self.parameters if p.name in names]
        share = 1 - sum(p.numel for p in carried) / max(self.num_parameters, 1)
        reasons = Counter(self.reasons.get(p.name, UNPLACED) for p in carried)
        why = "; ".join(f"{count} because {reason}" for reason, count in reasons.most_common())
        first = (
            f"neural graph ({self.topology}, {self.origin}): {self.num_nodes} nodes in {len(self.groups)} groups, "
            f"{len(self.blocks)} blocks; {share:.1%} of {self.num_parameters} parameters on edges, "
            f"{len(carried)} of {len(self.parameters)} tensors carried{why and f': {why}'}"
        )
        rest = (f"  carried: {p.name} {p.shape}: {self.reasons.get(p.name, UNPLACED)}" for p in carried)
        return "\n".join([first, *rest])

    # -- edge lists, for small graphs ----------------------------------------------------------------------------------

    def edge_index(self) -> Int[Tensor, "2 edges"]:
        """Sources and targets of all edges, self-loops last."""
        pairs = [torch.stack([source.reshape(-1), target.reshape(-1)]) for source, target in map(ends, self.blocks)]
        loops = torch.arange(self.num_nodes)
        return torch.cat([*pairs, torch.stack([loops, loops])], dim=1)

    def edge_types(self) -> Int[Tensor, " edges"]:
        """Types of all edges, self-loops last."""
        types = [torch.full((block.num_edges,), int(block.edge_type)) for block in self.blocks]
        return torch.cat([*types, torch.full((self.num_nodes,), int(EdgeType.SELF_LOOP))])

    def endpoints(self) -> Int[Tensor, "params 2"]:
        """Source and target node of every parameter, ``named_parameters`` order; -1 for carried ones."""
        nodes = torch.full((self.num_parameters, 2), -1)
        for block in self.blocks:
            if block.weight is not None:
                source, target = ends(block)
                view = window(nodes, block)
                view[..., 0] = source.unsqueeze(-1)
                view[..., 1] = target.unsqueeze(-1)
        return nodes

    def parameter_slots(self) -> tuple[Int[Tensor, " params"], Int[Tensor, " params"]]:
        """Edge and kernel position of every parameter; -1 for carried ones."""
        slots = torch.full((self.num_parameters, 2), -1)
        first = 0
        for block in self.blocks:
            if block.weight is not None:
                view = window(slots, block)
                view[..., 0] = torch.arange(first, first + block.num_edges).view(view.shape[:-2]).unsqueeze(-1)
                view[..., 1] = torch.arange(block.features)
            first += block.num_edges
        return slots[:, 0].clone(), slots[:, 1].clone()

    def edge_features(self, states: Shaped[Tensor, "params states"]) -> Shaped[Tensor, "edges inputs"]:
        """Put parameter states on the edges.

        Args:
            states: oldest state first.

        Returns:
            Rows of F*c numbers: position s of the kernel in state j at ``s*c + j``; auxiliary edges carry their
            constant at position 0.

        Raises:
            ValueError: if the states have another number of parameters.
        """
        if states.ndim != 2 or states.shape[0] != self.num_parameters:
            raise ValueError(
                f"`states` has shape {tuple(states.shape)}, but the graph has {self.num_parameters} parameters: "
                f"pass ({self.num_parameters}, c) states of the model that the graph was made from"
            )
        states = states.contiguous()
        c = states.shape[1]
        features = states.new_zeros(self.num_edges, self.features, c)
        first = 0
        for block in self.blocks:
            edges = features[first : first + block.num_edges]
            if block.weight is None:
                edges[:, 0] = block.edge_type.constant
            else:
                edges[:, : block.features] = window(states, block).reshape(block.num_edges, block.features, c)
            first += block.num_edges
        features[first:, 0] = EdgeType.SELF_LOOP.constant
        return features.view(self.num_edges, self.features * c)

    def parameters_from_edges(
        self, values: Shaped[Tensor, "edges features ..."], fill: Shaped[Tensor, "params ..."] | None = None
    ) -> Shaped[Tensor, "params ..."]:
        """Take the parameters off the edges: the inverse of ``edge_features``.

        Args:
            values: a value, or several, for each kernel position of each edge.
            fill: what carried parameters get; needed only where there are any.

        Returns:
            A value, or several, for each parameter.

        Raises:
            ValueError: if the shape does not fit, or carried parameters have no value.
        """
        if values.shape[:2] != (self.num_edges, self.features):
            raise ValueError(
                f"`values` of shape {tuple(values.shape)} must be (edges, kernel positions) = "
                f"({self.num_edges}, {self.features}), or have one more dimension"
            )
        if self.carried and fill is None:
            raise ValueError(f"parameters {self.carried} lie on no edge: pass `fill` with their values")
        shape = (self.num_parameters, *values.shape[2:])
        out = values.new_zeros(shape) if fill is None else fill.to(values.dtype).expand(shape).contiguous().clone()
        first = 0
        for block in self.blocks:
            if block.weight is not None:
                view = window(out, block)
                view.copy_(values[first : first + block.num_edges, : block.features].reshape(view.shape))
            first += block.num_edges
        return out

    def to_pyg(self, states: Shaped[Tensor, "params states"] | None = None) -> Data:
        """The graph as PyTorch Geometric data, for small graphs, tests and pictures.

        Args:
            states: oldest state first, if edge features are wanted.

        Returns:
            ``Data`` with edge_index (2, E), edge_type (E,), param_edge (P,), param_position (P,) and, with
            ``states``, edge_attr (E, F*c).
        """
        from torch_geometric.data import Data

        edge, position = self.parameter_slots()
        data = Data(
            edge_index=self.edge_index(),
            edge_type=self.edge_types(),
            param_edge=edge,
            param_position=position,
            num_nodes=self.num_nodes,
        )
        if states is not None:
            data.edge_attr = self.edge_features(states)
        return data
