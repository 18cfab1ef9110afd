r"""NiNo's layers with everything linear between two SiLUs folded into one matrix (paper, section 4).

With u_0 an edge's scaled features and s, t its ends, the network of L layers becomes

    u_{i+1} = SiLU(A_i u_i + a_i[type] + S_i x_i[s] + T_i x_i[t])                      i = 0 .. L-2
    m_i     = scale * (y_i[s] + z_i[t]) + shift,  [scale; shift] = M_i u_i + m_i[type]
    x_{i+1} = SiLU(K_i x_i + G_i mean(m_i) + g_i)
    update  = R SiLU(B u_{L-1} + b[type]) + r

so that no edge state but u_i exists, and u_i is recomputed from u_0 and node-sized terms wherever it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import Block
from nino.nowcasters.network import Network


@dataclass(frozen=True)
class Affine:
    """A linear map of edge states u with a bias a type.

    Args:
        weight: of the map.
        bias: a row for each edge type.
    """

    weight: Float[Tensor, "outputs inputs"]
    bias: Float[Tensor, "types outputs"]

    def columns(self, u: Float[Tensor, "*batch fed"]) -> Float[Tensor, "outputs fed"]:
        """The columns that u feeds: kernel positions that a block does not have are zero and left out."""
        return self.weight[:, : u.shape[-1]]

    def constant(self, depth: int, block: Block, context: int) -> Float[Tensor, " outputs"]:
        """What the map of u_depth adds on all edges of a block.

        An auxiliary block's features, the same in all states, are part of it at depth 0.
        """
        bias = self.bias[int(block.edge_type)]
        if depth == 0 and block.weight is None:
            bias = bias + block.edge_type.constant * self.weight[:, :context].sum(dim=1)
        return bias

    def to(self, dtype: torch.dtype) -> Affine:
        """The same in another dtype."""
        return Affine(self.weight.to(dtype), self.bias.to(dtype))


@dataclass(frozen=True)
class NodeLayer:
    """Maps of the node states x around one convolution and the edge update after it.

    Args:
        source: y = source x, at the source of a message.
        target: z = target x + target_bias, at its target.
        target_bias: see above.
        keep: K.
        gather: G.
        bias: g.
        end_source: S, of the edge update.
        end_target: T, of the edge update.
    """

    source: Float[Tensor, "hidden hidden"]
    target: Float[Tensor, "hidden hidden"]
    target_bias: Float[Tensor, " hidden"]
    keep: Float[Tensor, "hidden hidden"]
    gather: Float[Tensor, "hidden hidden"]
    bias: Float[Tensor, " hidden"]
    end_source: Float[Tensor, "hidden hidden"]
    end_target: Float[Tensor, "hidden hidden"]

    def to(self, dtype: torch.dtype) -> NodeLayer:
        """The same in another dtype."""
        return NodeLayer(*(getattr(self, name).to(dtype) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Folded:
    """The folded network.

    Args:
        messages: M_i of each of the L - 1 convolutions that matter.
        nodes: the node maps of these.
        edges: A_i.
        out: B.
        last: R.
        last_bias: r.
        context: c.
    """

    messages: list[Affine]
    nodes: list[NodeLayer]
    edges: list[Affine]
    out: Affine
    last: Float[Tensor, "features horizons hidden"]
    last_bias: Float[Tensor, "features horizons"]
    context: int

    def to(self, dtype: torch.dtype) -> Folded:
        """The same in another dtype."""
        return Folded(
            [layer.to(dtype) for layer in self.messages],
            [layer.to(dtype) for layer in self.nodes],
            [layer.to(dtype) for layer in self.edges],
            self.out.to(dtype),
            self.last.to(dtype),
            self.last_bias.to(dtype),
            self.context,
        )


def fold(net: Network, convert: Callable[[Tensor], Tensor] = lambda t: t) -> Folded:
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

    messages, nodes, edges = [], [], []
    for i in range(net.layers - 1):
        conv, update = f"gnn.convs.{i}", f"gnn.edge_update.{i}"
        messages.append(through(w(f"{conv}.edge_encoder.weight"), w(f"{conv}.edge_encoder.bias")))
        target, source = w(f"{conv}.pre_nns.0.0.weight").chunk(2, dim=1)
        post, lin = w(f"{conv}.post_nns.0.0.weight"), w(f"{conv}.lin.weight")
        keep, gather = (lin @ post).chunk(2, dim=1)
        bias = lin @ w(f"{conv}.post_nns.0.0.bias") + w(f"{conv}.lin.bias")
        ends = w(f"{update}.lin_s.weight"), w(f"{update}.lin_t.weight")
        nodes.append(NodeLayer(source, target, w(f"{conv}.pre_nns.0.0.bias"), keep, gather, bias, *ends))
        ends_bias = w(f"{update}.lin_s.bias") + w(f"{update}.lin_t.bias")
        edges.append(through(w(f"{update}.lin_e.weight"), w(f"{update}.lin_e.bias") + ends_bias))
        inner, inner_bias = w(f"{update}.lin1.weight"), w(f"{update}.lin1.bias")
    out = through(w("edge_out.fc.0.weight"), w("edge_out.fc.0.bias"))
    shape = (net.max_features, net.max_horizon)
    last, last_bias = w("edge_out.fc.2.weight").unflatten(0, shape), w("edge_out.fc.2.bias").unflatten(0, shape)
    return Folded(messages, nodes, edges, out, last, last_bias, net.context)
