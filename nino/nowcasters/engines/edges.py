"""The network on an explicit edge list: the readable specification, for small graphs and tests."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nino.graphs import EdgeType, NeuralGraph
from nino.nowcasters.engines.sample import EdgeSample
from nino.nowcasters.network import Network
from nino.nowcasters.scaling import Scale, ScalingMode, UnscaleMode, window_scales
from nino.nowcasters.states import States


@dataclass(frozen=True)
class EdgeList:
    """A neural graph as explicit edges.

    Args:
        edge_index: sources above targets.
        edge_type: see ``EdgeType``.
        param_edge: the edge of each parameter, -1 where it lies on none.
        param_position: its kernel position there.
        num_nodes: N.
    """

    edge_index: Int[Tensor, "2 edges"]
    edge_type: Int[Tensor, " edges"]
    param_edge: Int[Tensor, " params"]
    param_position: Int[Tensor, " params"]
    num_nodes: int

    @classmethod
    def of(cls, graph: NeuralGraph, device: torch.device | None = None) -> EdgeList:
        """The edges of a neural graph, self-loops last; on the CPU where no device is given."""
        data = graph.to_pyg()
        return cls(
            data.edge_index.to(device),
            data.edge_type.long().to(device),
            data.param_edge.to(device),
            data.param_position.to(device),
            graph.num_nodes,
        )

    def repeat(self, times: int) -> EdgeList:
        """The disjoint union of ``times`` copies."""
        copies = torch.arange(times, device=self.edge_index.device)[:, None]
        param_edge = torch.where(self.param_edge < 0, -1, self.param_edge + copies * self.edge_type.numel())
        return EdgeList(
            (self.edge_index[:, None] + copies * self.num_nodes).flatten(1),
            self.edge_type.repeat(times),
            param_edge.flatten(),
            self.param_position.repeat(times),
            times * self.num_nodes,
        )

    def features(self, scaled: Float[Tensor, "params states"], positions: int) -> Float[Tensor, "edges inputs"]:
        """Edge features: the scaled states of an edge's weights, or an auxiliary edge's constant.

        Args:
            scaled: states in scaled units.
            positions: kernel positions F that an edge has room for; those that it does not use are zero.

        Returns:
            Rows of F*c numbers: position s of the kernel in state j at ``s*c + j``.
        """
        out = scaled.new_zeros(self.edge_type.numel(), positions, scaled.shape[1])
        on_edge = self.param_edge >= 0
        out[self.param_edge[on_edge], self.param_position[on_edge]] = scaled[on_edge]
        for kind in EdgeType:
            if kind.auxiliary:
                out[self.edge_type == int(kind), 0] = kind.constant
        return out.flatten(1)


def predict_edges(
    net: Network,
    graph: NeuralGraph,
    states: States,
    k: int,
    lpe: Float[Tensor, "nodes lpe"],
    scales: list[Scale],
    unscale: UnscaleMode,
    out: Float[Tensor, " params"],
    sample: EdgeSample | None = None,
) -> Float[Tensor, " params"]:
    """Predict on the whole edge list; arguments as ``predict_streamed``, which computes the same in less memory."""
    device, dtype = lpe.device, net.layer_embed.weight.dtype
    edges = EdgeList.of(graph, device)
    raw = torch.cat([torch.cat([t.float() for t in states.parts(p)], dim=1) for p in graph.parameters])  # (P, c)
    sizes = torch.tensor([p.numel for p in graph.parameters])
    mean = torch.tensor([s.mean for s in scales]).repeat_interleave(sizes)[:, None]
    divisor = torch.tensor([s.divisor for s in scales]).repeat_interleave(sizes)[:, None]
    scaled = ((raw.to(device) - mean.to(device)) / divisor.to(device)).to(dtype)
    words = graph.word_index().to(device) if net.word_positions else None
    along = None if sample is None else sample.edges(graph).to(device)
    attributes = edges.features(scaled, net.max_features)
    update = net(attributes, edges.edge_type, edges.edge_index, lpe, words, k, along)  # (E, F)
    update = torch.where(edges.param_edge < 0, 0.0, update[edges.param_edge, edges.param_position])  # (P,)
    for p, scale in zip(graph.parameters, scales, strict=True):
        gain, pull = scale.undo(unscale)
        if p.name not in graph.carried:
            out[p.slice] += (gain * update[p.slice] + pull * scaled[p.slice, -1]).to(out.device)
    return out


def edges_loss(
    net: Network,
    graph: NeuralGraph,
    states: Float[Tensor, "windows params states"],
    targets: Float[Tensor, "windows params horizons"],
    mask: Bool[Tensor, "windows horizons"],
    lpe: Float[Tensor, "windows nodes lpe"],
    scaling: ScalingMode,
) -> Float[Tensor, ""]:
    """The loss of ``NiNoNet.training_loss`` by the specification, on the disjoint union of the windows' graphs."""
    windows, horizons = mask.shape
    sizes = torch.tensor([p.numel for p in graph.parameters], device=states.device)
    mean, divisor = (
        t.repeat_interleave(sizes, dim=1)[..., None] for t in window_scales(states, graph.parameters, scaling)
    )
    union = EdgeList.of(graph, states.device).repeat(windows)
    attributes = union.features(((states - mean) / divisor).flatten(0, 1), net.max_features)
    words = graph.word_index().to(states.device).repeat(windows) if net.word_positions else None
    update = net(attributes, union.edge_type, union.edge_index, lpe.flatten(0, 1), words)
    on_edge = union.param_edge >= 0
    update = update[union.param_edge[on_edge], union.param_position[on_edge], :horizons]
    wanted = ((targets - states[:, :, -1:]) / divisor).flatten(0, 1)[on_edge]
    errors = (update - wanted).abs().view(windows, -1, horizons)
    return errors[mask[:, None].expand_as(errors)].mean()
