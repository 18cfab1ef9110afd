"""NiNo as a nowcaster: the network, the scaling of what it reads, and a choice of engines."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import EdgeType, NeuralGraph
from nino.nowcasters.base import Nowcaster, check_windows
from nino.nowcasters.engines.edges import edges_loss, predict_edges
from nino.nowcasters.engines.sample import EdgeSample
from nino.nowcasters.engines.streamed import predict_streamed
from nino.nowcasters.engines.streamed_loss import streamed_loss
from nino.nowcasters.network import Network
from nino.nowcasters.scaling import ScaledStates, ScalingMode, UnscaleMode, measure
from nino.nowcasters.states import as_states, last_state
from nino.threads import Workers, thread_count


class NiNoNet(ScaledStates, Network, Nowcaster):
    r"""Message passing on the neural graph, :math:`\hat w_{t+k} = w_t + \mathrm{out}(e^{(L)})_{f, k}` in scaled units.

    Parameters have the names and shapes of the released checkpoints.

    Args:
        scaled: whether states are scaled for the network and its updates scaled back; False takes both as they are.
        **network: arguments of ``Network``: sizes and seed.

    Raises:
        ValueError: for a size below 1.
    """

    kind = "nino"
    shares = True
    context: int
    max_horizon: int

    def __init__(self, *, scaled: bool = True, **network: Any) -> None:
        """Create the network."""
        super().__init__(**network)
        self.scaled = scaled
        if not scaled:  # files of scaled networks stay what they were before there was a choice
            self.config["scaled"] = False

    def predict(
        self,
        graph: NeuralGraph,
        states: Any,
        k: int,
        *,
        lpe: Float[Tensor, "nodes lpe"] | None = None,
        engine: str = "streamed",
        memory_budget: int | None = None,
        scaling: ScalingMode | None = None,
        unscale: UnscaleMode = "released",
        precision: torch.dtype = torch.float32,
        sample: EdgeSample | None = None,
        threads: int | None = None,
    ) -> Float[Tensor, " params"]:
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
            threads: CPU threads of the streamed engine, see ``nino.threads``; no bit depends on them. None takes the
                environment variable ``NINO_THREADS``, else torch's own number.

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
        _require_engine(engine)
        if engine == "edges" and graph.ranks.world > 1:
            raise ValueError(f"`engine` (={engine!r}) computes on whole graphs alone; processes share 'streamed'")
        if unscale not in ("released", "exact"):
            raise ValueError(f"`unscale` (={unscale!r}) must be 'released' or 'exact'")
        mode = self.mode(scaling)
        threads = thread_count(threads)
        positions = self.positions(graph, lpe)
        out = torch.empty(graph.num_parameters, device=source.device)
        with torch.inference_mode():
            with Workers(threads, source.device) as workers:
                scales = measure(source, graph.parameters, mode, workers, graph.ranks)
                last_state(source, graph.parameters, out, workers)
            if engine == "streamed":
                return predict_streamed(
                    self, graph, source, k, positions, scales, unscale, out, memory_budget, precision, sample, threads
                )
            return predict_edges(self, graph, source, k, positions, scales, unscale, out, sample)

    def training_loss(
        self,
        graph: NeuralGraph,
        states: Tensor,
        targets: Tensor,
        mask: Tensor,
        lpe: Float[Tensor, "windows nodes lpe"],
        *,
        scaling: ScalingMode | None = None,
        engine: str = "streamed",
        memory_budget: int | None = None,
        threads: int | None = None,
    ) -> Float[Tensor, ""]:
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
            threads: see ``predict``.

        Returns:
            A scalar with gradients to the network's parameters.

        Raises:
            ValueError: for shapes that do not fit each other or the graph, an empty mask, another ``scaling`` than the
                network's or an unknown ``engine``.
        """
        _require_engine(engine)
        self.check_graph(graph)
        check_windows(self, graph, states, targets, mask)
        expected = (states.shape[0], graph.num_nodes, self.config["lpe"] or lpe.shape[-1])
        if lpe.shape != expected:
            raise ValueError(f"`lpe` has shape {tuple(lpe.shape)}, expected {expected}")
        mode = self.mode(scaling)
        if engine == "edges":
            return edges_loss(self, graph, states, targets, mask, lpe, mode)
        return streamed_loss(self, graph, states, targets, mask, lpe, mode, memory_budget, thread_count(threads))

    def positions(self, graph: NeuralGraph, lpe: Float[Tensor, "rows lpe"] | None) -> Float[Tensor, "nodes positions"]:
        """Node positions, on the network's device; the graph's own where none are given."""
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


def _require_engine(engine: str) -> None:
    if engine not in ("streamed", "edges"):
        raise ValueError(f"`engine` (={engine!r}) must be 'streamed' or 'edges'")
