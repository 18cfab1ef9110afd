"""WNN+ ("nino_mlp"): each weight alone, by an MLP on its scaled states and the type of its edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from nino.graphs import Block, NeuralGraph
from nino.nowcasters.base import Nowcaster, check_windows
from nino.nowcasters.engines.batch import Batch
from nino.nowcasters.engines.reader import Reader, add_update
from nino.nowcasters.engines.recompute import Autocast, Pass, sum_errors
from nino.nowcasters.engines.streamed import affordable, chunk_size
from nino.nowcasters.engines.streamed_loss import rows_and_threads
from nino.nowcasters.engines.tiles import Tile, tiles
from nino.nowcasters.network import Perceptron, embedding, initialise, require_sizes
from nino.nowcasters.scaling import ScaledStates, ScalingMode, UnscaleMode, measure
from nino.nowcasters.states import as_states, last_state
from nino.threads import Workers, thread_count


class WNNPlus(ScaledStates, nn.Module, Nowcaster):
    r"""Each weight alone, :math:`\hat w_{t+k} = w_t + \mathrm{mlp}(\mathrm{proj}(w) + \mathrm{embed}[type])_k`.

    Every kernel position is predicted alone, and only positions that exist are. Names and shapes as released.

    Args:
        hidden: d, 128 or 32 as released.
        context: c, states read.
        max_horizon: K, states predicted.
        edge_types: rows of the edge type embedding.
        scaled: see ``NiNoNet``.
        seed: of the initialisation, normal(0, 0.02) weights and zero biases; the global generator is left alone.

    Raises:
        ValueError: for a size below 1.
    """

    kind = "wnn+"

    needs_graph = False
    shares = True

    def __init__(
        self,
        hidden: int = 128,
        context: int = 5,
        max_horizon: int = 40,
        edge_types: int = 15,
        scaled: bool = True,
        seed: int = 0,
    ) -> None:
        """Create the layers on no device, then fill them from a generator of their own."""
        super().__init__()
        self.config = {"hidden": hidden, "context": context, "max_horizon": max_horizon, "edge_types": edge_types}
        require_sizes(self.config)
        self.scaled = scaled
        if not scaled:
            self.config["scaled"] = False
        self.hidden = hidden
        self.context: int = context
        self.max_horizon: int = max_horizon
        with torch.device("meta"):
            self.layer_embed = embedding(edge_types, hidden)
            self.edge_proj = Perceptron(context, hidden)
            self.edge_mlp = Perceptron(hidden, hidden, hidden, hidden, max_horizon)
        initialise(self, seed)

    def forward(
        self, scaled: Float[Tensor, "*weights states"], edge_type: Int[Tensor, "*#weights"]
    ) -> Float[Tensor, "*weights horizons"]:
        """The specification: scaled updates of weights, from their scaled states and the types of their edges."""
        return self.edge_mlp(self.edge_proj(scaled) + self.layer_embed(edge_type))

    def folded(self) -> list[Tensor]:
        """Weights and biases with the projection folded into the first layer; the first bias has a row a type."""
        first, *others = self.edge_mlp.linears()
        (proj,) = self.edge_proj.linears()
        bias = linear(proj.bias + self.layer_embed.weight, first.weight, first.bias)
        return [first.weight @ proj.weight, bias, *(t for layer in others for t in (layer.weight, layer.bias))]

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
        threads: int | None = None,
    ) -> Float[Tensor, " params"]:
        """See ``NiNoNet.predict``; ``lpe`` and ``engine`` make no difference."""
        source = as_states(states)
        self.check(graph, source, k)
        mode = self.mode(scaling)
        device = self.layer_embed.weight.device
        size = 4 * (self.context + 2 * self.hidden)
        chunk = chunk_size(memory_budget, size, device)
        threads = affordable(thread_count(threads), memory_budget, chunk * size)
        out = torch.empty(graph.num_parameters, device=source.device)
        with torch.inference_mode(), Workers(threads, device) as workers:
            scales = measure(source, graph.parameters, mode, workers, graph.ranks)
            last_state(source, graph.parameters, out, workers)
            reader, weights = Reader(graph, source, scales, device), workers.call(self.folded)
            final, shift = weights[-2][k - 1], weights[-1][k - 1]

            def predict(place: tuple[Block, list[Tile]]) -> None:
                block, some = place
                gain, pull = reader.parameter(block)[1].undo(unscale)
                raw = torch.empty(max(t.num_edges for t in some) * block.features * self.context, device=device)
                for tile in some:
                    x = reader.read(block, tile, raw).transpose(1, 2).reshape(-1, self.context)
                    h = silu(torch.addmm(weights[1][int(block.edge_type)], x, weights[0].T), inplace=True)
                    for weight, bias in zip(weights[2:-2:2], weights[3:-2:2], strict=True):
                        h = silu(torch.addmm(bias, h, weight.T), inplace=True)
                    update = torch.mv(h, final).add_(shift).mul_(gain).add_(x[:, -1], alpha=pull)
                    add_update(out, block, tile, update)

            blocks = [block for block in graph.blocks if block.weight is not None]
            cut = ((block, reader.tiles(block, max(chunk // block.features, 1))) for block in blocks)
            workers.run(predict, ((block, some[i : i + 8]) for block, some in cut for i in range(0, len(some), 8)))
        return out

    def training_loss(
        self,
        graph: NeuralGraph,
        states: Tensor,
        targets: Tensor,
        mask: Tensor,
        lpe: Float[Tensor, "windows nodes lpe"] | None = None,
        *,
        scaling: ScalingMode | None = None,
        engine: str = "streamed",
        memory_budget: int | None = None,
        threads: int | None = None,
    ) -> Float[Tensor, ""]:
        """See ``NiNoNet.training_loss``; ``lpe`` and ``engine`` make no difference."""
        check_windows(self, graph, states, targets, mask)
        batch = Batch.of(graph, states, targets, mask, self.mode(scaling))
        rows, threads = rows_and_threads(memory_budget, self.hidden, thread_count(threads))
        blocks = [b for b in graph.blocks if b.weight is not None]
        with torch.autocast(states.device.type, enabled=False):
            *weights, last, last_bias = self.folded()
        errors = sum_errors(
            _WeightPass(batch, blocks, rows, Autocast.current(states.device), threads),
            *weights,
            last[: mask.shape[1]],
            last_bias[: mask.shape[1]],
        )
        return errors / (sum(b.num_weights for b in blocks) * mask.sum())


class _WeightPass(Pass):
    """The one pass of WNN+ in training: it reads no nodes."""

    def tiles(self, block: Block) -> list[Tile]:
        return tiles(block, max(self.rows // (self.batch.windows * block.features), 1))

    def run(self, block: Block, tile: Tile, nodes: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        x = self.batch.features(block, tile)
        assert x is not None
        x = x.unflatten(-1, (block.features, -1))
        h = silu(linear(x, weights[0]) + weights[1][int(block.edge_type)])
        for weight, bias in zip(weights[2:-2:2], weights[3:-2:2], strict=True):
            h = silu(linear(h, weight, bias))
        return self.batch.error(h, weights[-2], weights[-1], block, tile)
