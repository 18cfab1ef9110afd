r"""The NiNo network (Knyazev et al., ICLR 2025: accelerating training with neuron interaction and nowcasting networks).

A neural graph has a node for each neuron and an edge for each weight (section 3.2 of the paper). NiNo reads the last c
states of every weight and predicts its change k states ahead, for all weights at once (section 4). For an edge s -> t
with scaled states w_1 .. w_c, and for nodes with Laplacian positions p::

    e_st = edge_proj(w_st) + layer_embed[type]                                    edge embedding
    x_t  = node_proj(p_t) [+ word embedding]                                      node embedding
    then L - 1 times:
        m_st = scale(e_st) * pre([x_t, x_s]) + shift(e_st)                        message
        x_t  = SiLU(lin(post([x_t, mean over s of m_st])))                        node update
        e_st = lin1(SiLU(lin_e(e_st) + lin_s(x_s) + lin_t(x_t)))                  edge update
    w_(t+k) = w_c + edge_out(e_st)[f, k]                                          nowcast, in scaled units

This file is the specification: ``Network.forward`` is these lines on an explicit list of edges, and needs memory for
all of them. ``nino.nowcasters.engines`` computes the same without edge states in memory, and the tests hold it to this.

Legend of dimension names (docs/shapes.md has them all)::

    nodes      N   neurons, biases, norms, heads, words, ...: all nodes of the graph
    edges      E   weights and auxiliary edges, self-loops last
    states     c   past states read, 5 as released
    features   F   kernel positions that an edge has room for, 9 (3 x 3) as released
    horizons   K   horizons predicted, 40 as released
    hidden     d   128 as released
    lpe            eigenvectors of the Laplacian in a node's position, 8 as released
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear, silu


class Perceptron(nn.Module):
    """Linear layers with SiLU between them, named ``fc.0``, ``fc.2``, ... as in the released checkpoints.

    Args:
        sizes: widths, inputs first.
    """

    def __init__(self, *sizes: int) -> None:
        """Create the layers."""
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width_out in zip(sizes, sizes[1:], strict=False):
            layers += [nn.SiLU()] * bool(layers) + [nn.Linear(width_in, width_out)]
        self.fc = nn.Sequential(*layers)

    def linears(self) -> list[nn.Linear]:
        """The linear layers, inputs first."""
        return [layer for layer in self.fc if isinstance(layer, nn.Linear)]

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Apply the layers one after another."""
        return self.fc(x)


class Convolution(nn.Module):
    r"""One round of messages, :math:`x_t' = \mathrm{lin}(\mathrm{post}[x_t, \mathrm{mean}_s\, m_{st}])`.

    Args:
        d: hidden size.
    """

    def __init__(self, d: int) -> None:
        """Create the layers, under their released names."""
        super().__init__()
        self.edge_encoder = nn.Linear(d, 2 * d)
        self.pre_nns = nn.ModuleList([nn.Sequential(nn.Linear(2 * d, d))])
        self.post_nns = nn.ModuleList([nn.Sequential(nn.Linear(2 * d, d))])
        self.lin = nn.Linear(d, d)

    def forward(
        self,
        x: Float[Tensor, "nodes hidden"],
        edge_index: Int[Tensor, "2 edges"],
        e: Float[Tensor, "edges hidden"],
    ) -> Float[Tensor, "nodes hidden"]:
        """New node states before their SiLU; ``edge_index`` holds sources above targets."""
        # PyTorch Geometric takes seconds to import, which the streamed engine need not pay
        from nino.nowcasters.propagate import MeanOfMessages

        incoming = MeanOfMessages(self.message)(x, edge_index, e)  # (N, d)
        return self.lin(self.post_nns[0](torch.cat([x, incoming], dim=1)))  # (N, 2d) -> (N, d)

    def message(
        self,
        x_i: Float[Tensor, "edges hidden"],
        x_j: Float[Tensor, "edges hidden"],
        e: Float[Tensor, "edges hidden"],
    ) -> Float[Tensor, "edges hidden"]:
        """The message along each edge, from the states of its target ``x_i``, its source ``x_j`` and its own."""
        scale, shift = self.edge_encoder(e).chunk(2, dim=1)  # (E, 2d) -> 2 x (E, d)
        return scale * self.pre_nns[0](torch.cat([x_i, x_j], dim=1)) + shift  # (E, 2d) -> (E, d)


class EdgeUpdate(nn.Module):
    """New edge states from the old ones and both ends, ``lin1(SiLU(lin_e(e) + lin_s(x)[s] + lin_t(x)[t]))``."""

    def __init__(self, d: int) -> None:
        """Create the layers, under their released names."""
        super().__init__()
        self.lin_e = nn.Linear(d, d)
        self.lin_s = nn.Linear(d, d)
        self.lin_t = nn.Linear(d, d)
        self.lin1 = nn.Linear(d, d)

    def forward(
        self,
        x: Float[Tensor, "nodes hidden"],
        edge_index: Int[Tensor, "2 edges"],
        e: Float[Tensor, "edges hidden"],
    ) -> Float[Tensor, "edges hidden"]:
        """New edge states; ``edge_index`` holds sources above targets."""
        source, target = edge_index
        return self.lin1(silu(self.lin_e(e) + self.lin_s(x)[source] + self.lin_t(x)[target]))  # nodes' terms: (E, d)


class GraphNetwork(nn.Module):
    """L convolutions with L - 1 edge updates between them.

    The last convolution would change nodes that nothing reads: checkpoints hold its parameters, no prediction uses it.
    """

    def __init__(self, d: int, layers: int) -> None:
        """Create ``layers`` convolutions and one edge update fewer."""
        super().__init__()
        self.convs = nn.ModuleList([Convolution(d) for _ in range(layers)])
        self.edge_update = nn.ModuleList([EdgeUpdate(d) for _ in range(layers - 1)])

    def forward(
        self,
        x: Float[Tensor, "nodes hidden"],
        edge_index: Int[Tensor, "2 edges"],
        e: Float[Tensor, "edges hidden"],
        along: Int[Tensor, " sampled"] | None = None,
    ) -> Float[Tensor, "edges hidden"]:
        """Last edge states; messages travel ``along`` these edges alone, or along all."""
        travelled: slice | Tensor = slice(None) if along is None else along
        for conv, update in zip(self.convs, self.edge_update, strict=False):
            x = silu(conv(x, edge_index[:, travelled], e[travelled]))
            e = update(x, edge_index, e)
        return e


class Network(nn.Module):
    """The network alone: its layers, under the names and shapes of the released checkpoints, and its forward pass.

    Args:
        hidden: d, 128 as released.
        layers: L convolutions with L - 1 edge updates; the last convolution never reaches a prediction.
        context: c, states read.
        max_horizon: K, states predicted.
        max_features: F, kernel positions that an edge has room for (9: 3x3).
        lpe: eigenvectors of the Laplacian positional encoding; 0 leaves out the layer that reads them, and every node
            begins with zeros (any constant would do: the biases of the first convolution take it up).
        word_positions: size of the vocabulary whose tokens have an embedding of their own; 0 for none.
        edge_types: rows of the edge type embedding.
        seed: of the initialisation, normal(0, 0.02) weights and zero biases; the global generator is left alone.

    Raises:
        ValueError: for a size below 1.
    """

    def __init__(
        self,
        hidden: int = 128,
        layers: int = 3,
        context: int = 5,
        max_horizon: int = 40,
        max_features: int = 9,
        lpe: int = 8,
        word_positions: int = 0,
        edge_types: int = 15,
        seed: int = 0,
    ) -> None:
        """Create the layers on no device, then fill them from a generator of their own."""
        super().__init__()
        self.config = {
            "hidden": hidden,
            "layers": layers,
            "context": context,
            "max_horizon": max_horizon,
            "max_features": max_features,
            "lpe": lpe,
            "word_positions": int(word_positions),
            "edge_types": edge_types,
        }
        require_sizes(self.config, may_be_zero=("word_positions", "lpe"))
        self.hidden, self.layers, self.max_features = hidden, layers, max_features
        self.context, self.max_horizon = context, max_horizon
        self.word_positions = int(word_positions)
        with torch.device("meta"):
            self.layer_embed = embedding(edge_types, hidden)
            if lpe:
                self.node_proj = Perceptron(lpe, hidden)
            if word_positions:
                self.wte_pos_enc_layer = embedding(word_positions + 1, hidden)
            self.edge_proj = Perceptron(max_features * context, hidden)
            self.gnn = GraphNetwork(hidden, layers)
            self.edge_out = Perceptron(hidden, hidden, max_features * max_horizon)
        initialise(self, seed)

    def forward(
        self,
        attributes: Float[Tensor, "edges inputs"],
        edge_type: Int[Tensor, " edges"],
        edge_index: Int[Tensor, "2 edges"],
        lpe: Float[Tensor, "nodes lpe"],
        words: Int[Tensor, " nodes"] | None = None,
        k: int | None = None,
        along: Int[Tensor, " sampled"] | None = None,
    ) -> Float[Tensor, "edges features"] | Float[Tensor, "edges features horizons"]:
        """The specification: scaled updates of every edge.

        Args:
            attributes: scaled states of each edge's weights, see ``EdgeList.features``.
            edge_type: see ``EdgeType``.
            edge_index: sources above targets.
            lpe: node positions; not read by a network without positional encoding.
            words: token id + 1 on word nodes and 0 elsewhere; read only with word positions.
            k: a horizon, or None for all K.
            along: the edges that messages travel on; None for all.

        Returns:
            Updates at horizon ``k``, or at all K.
        """
        e = self.edge_proj(attributes) + self.layer_embed(edge_type)  # (E, F*c) -> (E, d)
        x = self.nodes(lpe, words)  # (N, lpe) -> (N, d)
        e = self.gnn(x, edge_index, e, along)  # (E, d)
        first, last = self.edge_out.linears()
        h = silu(first(e))  # (E, d)
        if k is None:
            return last(h).unflatten(1, (self.max_features, self.max_horizon))  # (E, F*K) -> (E, F, K)
        rows = slice(k - 1, None, self.max_horizon)  # of the last layer: one for each kernel position
        return linear(h, last.weight[rows], last.bias[rows])  # (E, F)

    def nodes(
        self, lpe: Float[Tensor, "*batch nodes lpe"], words: Int[Tensor, " nodes"] | None
    ) -> Float[Tensor, "*batch nodes hidden"]:
        """First node states from positions and words."""
        x = self.node_proj(lpe) if self.config["lpe"] else lpe.new_zeros(*lpe.shape[:-1], self.hidden)
        return x + self.wte_pos_enc_layer(words) if self.word_positions else x


def require_sizes(config: Mapping[str, int], may_be_zero: tuple[str, ...] = ()) -> None:
    """Raise for sizes that are too small.

    Raises:
        ValueError: names the size, its value and the least that is allowed.
    """
    for name, size in config.items():
        if size < (least := int(name not in may_be_zero)):
            raise ValueError(f"`{name}` (={size}) must be at least {least}")


def embedding(rows: int, width: int) -> nn.Embedding:
    """An ``nn.Embedding`` without values.

    Its constructor would draw some; on the meta device torch imports its compiler for that, which takes seconds.
    """
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)


def initialise(module: nn.Module, seed: int) -> None:
    """Give a module made on the meta device memory on the CPU: weights normal(0, 0.02), biases zero, as released.

    Args:
        module: made under ``torch.device("meta")``.
        seed: of a generator of its own.
    """
    module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(0.0, 0.02, generator=generator)
