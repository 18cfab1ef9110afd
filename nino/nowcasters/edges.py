r"""NiNo's message passing over an explicit edge list: the readable specification (PyTorch Geometric).

For an edge s -> t with features w, nodes with positions p:

    e  = edge_proj(w) + layer_embed[type]           x = node_proj(p) [+ word embedding]
    m  = scale(e) * pre([x_t, x_s]) + shift(e)
    x' = SiLU(lin(post([x_t, mean over incoming m])))
    e' = lin1(SiLU(lin_e(e) + lin_s(x')[s] + lin_t(x')[t]))

Shape legend: N nodes, E edges, P parameters, F kernel positions, c states, d hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nino.graphs.core import EdgeType

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.nino import NiNoNet
    from nino.nowcasters.sample import EdgeSample
    from nino.nowcasters.scaling import Scale, UnscaleMode
    from nino.nowcasters.states import States


class Convolution(nn.Module):
    r"""One round of messages, :math:`x_t' = \mathrm{lin}(\mathrm{post}[x_t, \mathrm{mean}_s\, m_{st}])`.

    Args:
        d: hidden size.

    Shapes:
        - input: nodes (N, d), edge_index (2, E) sources above targets, edges (E, d)
        - output: (N, d), before the SiLU
    """

    def __init__(self, d: int) -> None:
        """Create the layers, under their released names."""
        super().__init__()
        self.edge_encoder = nn.Linear(d, 2 * d)
        self.pre_nns = nn.ModuleList([nn.Sequential(nn.Linear(2 * d, d))])
        self.post_nns = nn.ModuleList([nn.Sequential(nn.Linear(2 * d, d))])
        self.lin = nn.Linear(d, d)

    def forward(self, x: Tensor, edge_index: Tensor, e: Tensor) -> Tensor:
        """Send a message along every edge and update the nodes."""
        # PyTorch Geometric takes seconds to import, which the streamed engine need not pay
        from nino.nowcasters.propagate import MeanOfMessages

        incoming = MeanOfMessages()(self, x, edge_index, e)
        return self.lin(self.post_nns[0](torch.cat([x, incoming], dim=1)))

    def message(self, x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
        """A message (E, d): the target is ``x_i``, the source ``x_j``."""
        scale, shift = self.edge_encoder(e).chunk(2, dim=1)
        return scale * self.pre_nns[0](torch.cat([x_i, x_j], dim=1)) + shift


class EdgeUpdate(nn.Module):
    """New edge states from the old and both ends, ``lin1(SiLU(lin_e(e) + lin_s(x)[s] + lin_t(x)[t]))``."""

    def __init__(self, d: int) -> None:
        """Create the layers, under their released names."""
        super().__init__()
        self.lin_e = nn.Linear(d, d)
        self.lin_s = nn.Linear(d, d)
        self.lin_t = nn.Linear(d, d)
        self.lin1 = nn.Linear(d, d)

    def forward(self, x: Tensor, edge_index: Tensor, e: Tensor) -> Tensor:
        """(E, d) from nodes (N, d) and edges (E, d)."""
        source, target = edge_index
        return self.lin1(nn.functional.silu(self.lin_e(e) + self.lin_s(x)[source] + self.lin_t(x)[target]))


class GraphNetwork(nn.Module):
    """Convolutions with edge updates between them; the last convolution's result would reach no prediction."""

    def __init__(self, d: int, layers: int) -> None:
        """Create ``layers`` convolutions and one edge update fewer."""
        super().__init__()
        self.convs = nn.ModuleList([Convolution(d) for _ in range(layers)])
        self.edge_update = nn.ModuleList([EdgeUpdate(d) for _ in range(layers - 1)])

    def forward(self, x: Tensor, edge_index: Tensor, e: Tensor, along: Tensor | None = None) -> Tensor:
        """Final edge states (E, d); messages travel ``along`` these edges (n,) alone, or all."""
        some: slice | Tensor = slice(None) if along is None else along
        for conv, update in zip(self.convs, self.edge_update, strict=False):
            x = nn.functional.silu(conv(x, edge_index[:, some], e[some]))
            e = update(x, edge_index, e)
        return e


@dataclass(frozen=True)
class EdgeList:
    """A neural graph as explicit edges.

    Args:
        edge_index: (2, E) long, sources above targets.
        edge_type: (E,) long.
        param_edge: (P,) long, the edge of each parameter, -1 where it lies on none.
        param_position: (P,) long, its kernel position there.
        num_nodes: N.
    """

    edge_index: Tensor
    edge_type: Tensor
    param_edge: Tensor
    param_position: Tensor
    num_nodes: int

    @classmethod
    def of(cls, graph: NeuralGraph) -> EdgeList:
        """The edges of a neural graph, self-loops last."""
        data = graph.to_pyg()
        return cls(data.edge_index, data.edge_type.long(), data.param_edge, data.param_position, graph.num_nodes)

    def to(self, device: torch.device) -> EdgeList:
        """The same on another device."""
        index, kind, edge, position = (
            t.to(device) for t in (self.edge_index, self.edge_type, self.param_edge, self.param_position)
        )
        return EdgeList(index, kind, edge, position, self.num_nodes)

    def repeat(self, times: int) -> EdgeList:
        """The disjoint union of ``times`` copies."""
        nodes = torch.arange(times, device=self.edge_index.device) * self.num_nodes
        edges = (torch.arange(times, device=self.edge_index.device) * self.edge_type.numel())[:, None]
        param_edge = torch.where(self.param_edge < 0, -1, self.param_edge + edges).flatten()
        return EdgeList(
            (self.edge_index[:, None] + nodes[:, None]).flatten(1),
            self.edge_type.repeat(times),
            param_edge,
            self.param_position.repeat(times),
            times * self.num_nodes,
        )

    def features(self, scaled: Tensor, positions: int) -> Tensor:
        """Edge features (E, positions*c): the scaled states of its weights, or an auxiliary edge's constant.

        Args:
            scaled: (P, c) scaled states.
            positions: kernel positions that an edge has room for; those it does not use are zero.
        """
        out = scaled.new_zeros(self.edge_type.numel(), positions, scaled.shape[1])
        on_edge = self.param_edge >= 0
        out[self.param_edge[on_edge], self.param_position[on_edge]] = scaled[on_edge]
        for kind in EdgeType:
            if kind.auxiliary:
                out[self.edge_type == int(kind), 0] = kind.constant
        return out.flatten(1)


def predict_edges(
    net: NiNoNet,
    graph: NeuralGraph,
    states: States,
    k: int,
    lpe: Tensor,
    scales: list[Scale],
    unscale: UnscaleMode,
    out: Tensor,
    sample: EdgeSample | None = None,
) -> Tensor:
    """Run the network on the whole edge list; arguments as ``predict_streamed``, which says the same in less memory."""
    edges, device, dtype = EdgeList.of(graph).to(lpe.device), lpe.device, net.layer_embed.weight.dtype
    whole = torch.cat([torch.cat([t.float() for t in states.parts(p)], dim=1) for p in graph.parameters])  # (P, c)
    sizes = torch.tensor([p.numel for p in graph.parameters])
    mean = torch.tensor([s.mean for s in scales]).repeat_interleave(sizes)[:, None]
    divisor = torch.tensor([s.divisor for s in scales]).repeat_interleave(sizes)[:, None]
    scaled = ((whole.to(device) - mean.to(device)) / divisor.to(device)).to(dtype)
    words = graph.word_index().to(device) if net.word_positions else None
    along = None if sample is None else sample.kept(graph).to(device)
    update = net(edges, edges.features(scaled, net.max_features), lpe, words, k, along)  # (E, F)
    update = torch.where(edges.param_edge < 0, 0.0, update[edges.param_edge, edges.param_position])  # (P,)
    for p, scale in zip(graph.parameters, scales, strict=True):
        gain, pull = scale.undo(unscale)
        if p.name not in graph.carried:
            out[p.slice] += (gain * update[p.slice] + pull * scaled[p.slice, -1]).to(out.device)
    return out
