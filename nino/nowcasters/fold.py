r"""NiNo's layers with everything linear between two SiLUs folded into one matrix (DESIGN 4).

With u_0 an edge's scaled features and s, t its ends, the network of L layers becomes

    u_{i+1} = SiLU(A_i u_i + a_i[type] + S_i x_i[s] + T_i x_i[t])                      i = 0 .. L-2
    m_i     = scale * (y_i[s] + z_i[t]) + shift,  [scale; shift] = M_i u_i + m_i[type]
    x_{i+1} = SiLU(K_i x_i + G_i mean(m_i) + g_i)
    update  = R SiLU(B u_{L-1} + b[type]) + r

so that no edge state but u_i exists, and u_i is recomputed from u_0 and node-sized terms wherever it is needed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor

from nino.graphs.core import Block, EdgeType, Nodes

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph
    from nino.nowcasters.nino import NiNoNet


@dataclass(frozen=True)
class Affine:
    """A linear map of edge states u with a bias a type.

    Args:
        weight: (out, in).
        bias: (types, out).
    """

    weight: Tensor
    bias: Tensor


def columns(layer: Affine, u: Tensor) -> Tensor:
    """The columns of a layer that u (..., Q) feeds: features that a block does not have are zero and left out."""
    return layer.weight[:, : u.shape[-1]]


@dataclass(frozen=True)
class NodeLayer:
    """Node-sized maps around one convolution: ``source`` gives y, ``target`` z; then K, G and g."""

    source: Tensor
    target: Tensor
    target_bias: Tensor
    keep: Tensor
    gather: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Folded:
    """The folded network.

    Args:
        messages: M_i of each of the L - 1 convolutions that matter.
        nodes: the node maps of these.
        edges: A_i.
        ends: (S_i, T_i).
        out: B.
        last: R, (features, K, d).
        last_bias: r, (features, K).
        context: c.
    """

    messages: list[Affine]
    nodes: list[NodeLayer]
    edges: list[Affine]
    ends: list[tuple[Tensor, Tensor]]
    out: Affine
    last: Tensor
    last_bias: Tensor
    context: int


def constant(layer: Affine, depth: int, block: Block, context: int) -> Tensor:
    """What ``layer``, reading u_depth, adds on all edges of a block.

    An auxiliary block's features, the same in all states, are part of it at depth 0.
    """
    bias = layer.bias[int(block.edge_type)]
    if depth == 0 and block.weight is None:
        bias = bias + block.edge_type.constant * layer.weight[:, :context].sum(dim=1)
    return bias


def fold(net: NiNoNet, convert: Callable[[Tensor], Tensor] = lambda t: t) -> Folded:
    """Fold a network, differentiably.

    Args:
        net: the network; unchanged.
        convert: applied to every parameter first; inference folds in float64, so that folding costs no accuracy.
    """

    def w(name: str) -> Tensor:
        return convert(net.get_parameter(name))

    types = net.config["edge_types"]
    inner, inner_bias = w("edge_proj.fc.0.weight"), w("edge_proj.fc.0.bias") + w("layer_embed.weight")

    def through(weight: Tensor, bias: Tensor) -> Affine:
        return Affine(weight @ inner, (inner_bias @ weight.T + bias).expand(types, -1))

    messages, nodes, edges, ends = [], [], [], []
    for i in range(net.layers - 1):
        conv, update = f"gnn.convs.{i}", f"gnn.edge_update.{i}"
        messages.append(through(w(f"{conv}.edge_encoder.weight"), w(f"{conv}.edge_encoder.bias")))
        target, source = w(f"{conv}.pre_nns.0.0.weight").chunk(2, dim=1)
        post, lin = w(f"{conv}.post_nns.0.0.weight"), w(f"{conv}.lin.weight")
        keep, gather = (lin @ post).chunk(2, dim=1)
        bias = lin @ w(f"{conv}.post_nns.0.0.bias") + w(f"{conv}.lin.bias")
        nodes.append(NodeLayer(source, target, w(f"{conv}.pre_nns.0.0.bias"), keep, gather, bias))
        ends_bias = w(f"{update}.lin_s.bias") + w(f"{update}.lin_t.bias")
        edges.append(through(w(f"{update}.lin_e.weight"), w(f"{update}.lin_e.bias") + ends_bias))
        ends.append((w(f"{update}.lin_s.weight"), w(f"{update}.lin_t.weight")))
        inner, inner_bias = w(f"{update}.lin1.weight"), w(f"{update}.lin1.bias")
    out = through(w("edge_out.fc.0.weight"), w("edge_out.fc.0.bias"))
    shape = (net.max_features, net.max_horizon)
    last, last_bias = w("edge_out.fc.2.weight").unflatten(0, shape), w("edge_out.fc.2.bias").unflatten(0, shape)
    assert net.context is not None
    return Folded(messages, nodes, edges, ends, out, last, last_bias, net.context)


def cast(folded: Folded, dtype: torch.dtype) -> Folded:
    """All of a folded network in one dtype."""

    def affine(layers: list[Affine]) -> list[Affine]:
        return [Affine(a.weight.to(dtype), a.bias.to(dtype)) for a in layers]

    nodes = [replace(n, **{name: getattr(n, name).to(dtype) for name in n.__dataclass_fields__}) for n in folded.nodes]
    return Folded(
        affine(folded.messages),
        nodes,
        affine(folded.edges),
        [(s.to(dtype), t.to(dtype)) for s, t in folded.ends],
        affine([folded.out])[0],
        folded.last.to(dtype),
        folded.last_bias.to(dtype),
        folded.context,
    )


@dataclass(frozen=True)
class Tile:
    """A rectangle of a dense block's edges, or a run of a diagonal block's.

    Args:
        source: its sources, within the block.
        target: its targets, within the block.
        paired: whether the i-th source meets the i-th target only.
    """

    source: slice
    target: slice
    paired: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Sources x targets; (n, 1) of a diagonal run."""
        rows = self.source.stop - self.source.start
        return rows, 1 if self.paired else self.target.stop - self.target.start

    @property
    def num_edges(self) -> int:
        """Edges in the tile."""
        return self.shape[0] * self.shape[1]


def tiles(block: Block, size: int, narrow: int = 8) -> list[Tile]:
    """Cut a block into tiles of at most ``size`` edges; sums over sources like tall ones, at least ``narrow`` wide.

    >>> from nino.graphs.core import Nodes
    >>> block = Block("w", Nodes(0, 3), Nodes(3, 2), EdgeType.RESIDUAL, "dense")
    >>> [t.shape for t in tiles(block, 4, narrow=2)]
    [(2, 2), (1, 2)]
    """
    sources, targets = block.source.size, block.target.size
    if block.kind == "diagonal":
        cuts = [slice(i, min(i + size, sources)) for i in range(0, sources, size)]
        return [Tile(cut, cut, True) for cut in cuts]
    rows = min(sources, max(size // min(narrow, targets), 1))
    columns = min(targets, max(size // rows, 1))
    return [
        Tile(slice(s, min(s + rows, sources)), slice(t, min(t + columns, targets)), False)
        for t in range(0, targets, columns)
        for s in range(0, sources, rows)
    ]


@overload
def within(nodes: Nodes, part: slice) -> slice: ...
@overload
def within(nodes: Nodes, part: slice | Tensor) -> slice | Tensor: ...
def within(nodes: Nodes, part: slice | Tensor) -> slice | Tensor:
    """A slice of a group, or numbers within it, as a slice or numbers of all nodes."""
    if isinstance(part, Tensor):
        return part + nodes.start
    return slice(nodes.start + part.start, nodes.start + part.stop)


def all_blocks(graph: NeuralGraph) -> list[Block]:
    """The graph's blocks and the self-loop that every node has."""
    everything = Nodes(0, graph.num_nodes)
    return [*graph.blocks, Block("self-loops", everything, everything, EdgeType.SELF_LOOP, "diagonal")]


def degrees(graph: NeuralGraph) -> Tensor:
    """Incoming edges of every node, self-loop included: (N, 1) float32."""
    degree = torch.zeros(graph.num_nodes, 1)
    for block in all_blocks(graph):
        degree[block.target.slice] += block.source.size if block.kind == "dense" else 1
    return degree


def owners(graph: NeuralGraph) -> dict[int, int]:
    """The index of the parameter that each block's window starts in, by the window's offset."""
    starts = [(p.offset, index) for index, p in enumerate(graph.parameters) if p.numel]
    found = {}
    for block in graph.blocks:
        if block.weight is not None:
            place = bisect_right(starts, (block.weight.offset, len(graph.parameters))) - 1
            found[block.weight.offset] = starts[place][1]
    return found
