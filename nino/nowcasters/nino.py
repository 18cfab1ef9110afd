"""NiNo: a graph network over a network's neurons that nowcasts its parameters (Knyazev et al., ICLR 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nino.graphs.core import EdgeType
from nino.nowcasters.base import Nowcaster
from nino.nowcasters.edges import EdgeList, GraphNetwork, predict_edges
from nino.nowcasters.initialise import Perceptron, initialise
from nino.nowcasters.sample import EdgeSample
from nino.nowcasters.scaling import ScaledStates, ScalingMode, UnscaleMode, measure
from nino.nowcasters.states import as_states, last_state
from nino.nowcasters.streamed import predict_streamed
from nino.nowcasters.training import edges_loss, streamed_loss
from nino.nowcasters.windows import check_windows

if TYPE_CHECKING:
    from nino.graphs import NeuralGraph


class NiNoNet(ScaledStates, nn.Module, Nowcaster):
    r"""Message passing on the neural graph, :math:`\hat w_{t+k} = w_t + \mathrm{out}(e^{(L)})_{f, k}` in scaled units.

    Parameters have the names and shapes of the released checkpoints (DESIGN 4).

    Args:
        hidden: d, 128 as released.
        layers: L convolutions with L - 1 edge updates; the last convolution never reaches a prediction.
        context: c, states read.
        max_horizon: K, states predicted.
        max_features: kernel positions that an edge has room for (9: 3x3).
        lpe: eigenvectors of the Laplacian positional encoding; 0 leaves the layer that reads them out, and every node
            begins with zeros (any constant would do as well: the biases of the first convolution take it up).
        word_positions: size of the vocabulary whose tokens have an embedding of their own; 0 for none.
        edge_types: rows of the edge type embedding.
        scaled: whether states are scaled for the network and its updates scaled back; False takes both as they are.
        seed: of the initialisation, normal(0, 0.02) weights and zero biases; the global generator is left alone.

    Raises:
        ValueError: for a size below 1.
    """

    kind = "nino"

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
        scaled: bool = True,
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
        for name, size in self.config.items():
            if size < (least := int(name not in ("word_positions", "lpe"))):
                raise ValueError(f"`{name}` (={size}) must be at least {least}")
        self.scaled = scaled
        if not scaled:  # files of scaled networks stay what they were before there was a choice
            self.config["scaled"] = False
        self.context: int = context
        self.max_horizon: int = max_horizon
        self.max_features = max_features
        with torch.device("meta"):
            self.layer_embed = nn.Embedding(edge_types, hidden)
            if lpe:
                self.node_proj = Perceptron(lpe, hidden)
            if word_positions:
                self.wte_pos_enc_layer = nn.Embedding(word_positions + 1, hidden)
            self.edge_proj = Perceptron(max_features * context, hidden)
            self.gnn = GraphNetwork(hidden, layers)
            self.edge_out = Perceptron(hidden, hidden, max_features * max_horizon)
        initialise(self, seed)

    @property
    def hidden(self) -> int:
        """Hidden size d."""
        return self.config["hidden"]

    @property
    def layers(self) -> int:
        """Convolutions L, the unused last one included."""
        return self.config["layers"]

    @property
    def word_positions(self) -> int:
        """Vocabulary size of the word embedding, 0 where there is none."""
        return self.config["word_positions"]

    def forward(
        self,
        edges: EdgeList,
        attributes: Tensor,
        lpe: Tensor,
        words: Tensor | None = None,
        k: int | None = None,
        along: Tensor | None = None,
    ) -> Tensor:
        """The specification: scaled updates of every edge.

        Args:
            edges: E edges between N nodes.
            attributes: (E, max_features*c) from ``EdgeList.features``.
            lpe: (N, 8); its values are not read by a network without positional encoding.
            words: (N,) long, token id + 1 on word nodes and 0 elsewhere; read only with word positions.
            k: a horizon, or None for all K.
            along: (n,) long, the edges that messages travel on; None for all.

        Returns:
            (E, max_features) for one ``k``, else (E, max_features, K).
        """
        e = self.edge_proj(attributes) + self.layer_embed(edges.edge_type)
        e = self.gnn(self.nodes(lpe, words), edges.edge_index, e, along)
        first, last = self.edge_out.linears()
        h = nn.functional.silu(first(e))
        if k is None:
            return last(h).unflatten(1, (self.max_features, self.max_horizon))
        return nn.functional.linear(h, last.weight[k - 1 :: self.max_horizon], last.bias[k - 1 :: self.max_horizon])

    def nodes(self, lpe: Tensor, words: Tensor | None) -> Tensor:
        """First node states (..., N, d) from positions (..., N, 8)."""
        x = self.node_proj(lpe) if self.config["lpe"] else lpe.new_zeros(*lpe.shape[:-1], self.hidden)
        return x + self.wte_pos_enc_layer(words) if self.word_positions else x

    def predict(
        self,
        graph: NeuralGraph,
        states: Any,
        k: int,
        *,
        lpe: Tensor | None = None,
        engine: str = "streamed",
        memory_budget: int | None = None,
        scaling: ScalingMode | None = None,
        unscale: UnscaleMode = "released",
        precision: torch.dtype = torch.float32,
        sample: EdgeSample | None = None,
    ) -> Tensor:
        """Predict the parameters ``k`` states after the last one.

        The network computes where its weights are; states may lie elsewhere and are moved a chunk at a time.

        Args:
            graph: the network's neural graph.
            states: (P, c) floating point of any strides, dtype and device, oldest first; or a ``FileStates``.
            k: horizon in states, 1 <= k <= ``max_horizon``.
            lpe: (N, 8) node positions; None takes ``graph.lpe()``. Not read by a network without positional encoding.
            engine: ``streamed`` or ``edges``.
            memory_budget: bytes that the streamed engine's chunk may take; None: what the caches hold.
            scaling: ``tensor`` (as released, the default) or ``network``; ``none`` for a network fitted without.
            unscale: ``released`` or ``exact`` (an update of zero then returns the last state), see ``Scale``.
            precision: of the streamed engine's large matrix products, float32 or bfloat16.
            sample: edges that messages travel on, see ``SampledEdges``; None takes all. Every weight is predicted.

        Returns:
            (P,) float32 on the device of ``states``. Parameters that lie on no edge keep their last state.

        Raises:
            ValueError: for states that are not finite (named parameter) or do not fit the graph, ``k`` out of range,
                more kernel positions or words than the checkpoint knows, a ``scaling`` that it is not fitted to, or an
                unknown ``engine``.
        """
        source = as_states(states)
        self.check(graph, source, k)
        self.check_graph(graph)
        if engine not in ("streamed", "edges"):
            raise ValueError(f"`engine` (={engine!r}) must be 'streamed' or 'edges'")
        if unscale not in ("released", "exact"):
            raise ValueError(f"`unscale` (={unscale!r}) must be 'released' or 'exact'")
        mode = self.mode(scaling)
        positions = self.positions(graph, lpe)
        out = torch.empty(graph.num_parameters, device=source.device)
        with torch.inference_mode():
            scales = measure(source, graph.parameters, mode)
            last_state(source, graph.parameters, out)
            if engine == "streamed":
                return predict_streamed(
                    self, graph, source, k, positions, scales, unscale, out, memory_budget, precision, sample
                )
            return predict_edges(self, graph, source, k, positions, scales, unscale, out, sample)

    def training_loss(
        self,
        graph: NeuralGraph,
        states: Tensor,
        targets: Tensor,
        mask: Tensor,
        lpe: Tensor,
        *,
        scaling: ScalingMode | None = None,
        engine: str = "streamed",
        memory_budget: int | None = None,
    ) -> Tensor:
        """Mean absolute error of the scaled predictions, over predicted parameters and unmasked horizons.

        Args:
            graph: shared by the B windows.
            states: (B, P, c) float32, the windows' inputs; scaling statistics come from them.
            targets: (B, P, H) float32, the states 1..H after, H <= K; anything where masked.
            mask: (B, H) bool, True where a target exists.
            lpe: (B, N, 8), signs flipped as the caller likes; not read by a network without positional encoding.
            scaling: ``tensor`` (default) or ``network``; ``none`` for a network fitted without.
            engine: ``streamed`` (recomputes instead of storing) or ``edges``; gradients are equal.
            memory_budget: bytes that the streamed engine's chunk may take.

        Returns:
            A scalar with gradients to the network's parameters.

        Raises:
            ValueError: for shapes that do not fit each other or the graph, an empty mask, another ``scaling`` than the
                network's or an unknown ``engine``.
        """
        self.check_graph(graph)
        check_windows(self, graph, states, targets, mask)
        wanted = (states.shape[0], graph.num_nodes, self.config["lpe"] or lpe.shape[-1])
        if lpe.shape != wanted:
            raise ValueError(f"`lpe` has shape {tuple(lpe.shape)}, expected {wanted}")
        mode = self.mode(scaling)
        if engine == "edges":
            return edges_loss(self, graph, states, targets, mask, lpe, mode)
        if engine == "streamed":
            return streamed_loss(self, graph, states, targets, mask, lpe, mode, memory_budget)
        raise ValueError(f"`engine` (={engine!r}) must be 'streamed' or 'edges'")

    def positions(self, graph: NeuralGraph, lpe: Tensor | None) -> Tensor:
        """Node positions (N, 8) where the network is; the graph's own where none are given."""
        width = self.config["lpe"]
        if not width:
            return torch.empty(graph.num_nodes, 0).to(self.layer_embed.weight)
        lpe = graph.lpe(width) if lpe is None else lpe
        if tuple(lpe.shape) != (graph.num_nodes, width):
            raise ValueError(
                f"`lpe` has shape {tuple(lpe.shape)}, but the graph has {graph.num_nodes} nodes: "
                f"pass ({graph.num_nodes}, {width}), or None to take graph.lpe()"
            )
        return lpe.to(self.layer_embed.weight)

    def check_graph(self, graph: NeuralGraph) -> None:
        """Raise for a graph that this checkpoint cannot predict.

        Raises:
            ValueError: names the block with too many kernel positions, or both vocabularies.
        """
        types = self.config["edge_types"]
        for block in graph.blocks:
            if block.features > self.max_features:
                raise ValueError(
                    f"{block.name!r} has {block.features} kernel positions an edge, but this checkpoint has room for "
                    f"`max_features` (={self.max_features}): make the graph with unknown='carry' for this parameter, "
                    f"or use a nowcaster that reads each weight alone (WNN+)"
                )
        highest = max([int(EdgeType.SELF_LOOP), *(int(b.edge_type) for b in graph.blocks)])
        if highest >= types:
            raise ValueError(
                f"the graph has edges of type {highest}, but this checkpoint knows `edge_types` (={types})"
            )
        if self.word_positions and graph.word_nodes is not None:
            words = int(graph.word_index().max())
            if words > self.word_positions:
                raise ValueError(
                    f"the graph has words up to {words}, but this checkpoint's embedding knows `word_positions` "
                    f"(={self.word_positions}): use a checkpoint without word positions (nino_no_posw)"
                )
