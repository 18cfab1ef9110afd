"""Whether neural graphs see which permutations of attention keep its function (NiNo paper, figure 2d,e, appendix A.6).

One attention layer of width d with H heads; about a thousand permutations of its hidden neurons, half of which keep the
function. Each permuted layer is embedded by a graph network on its neural graph. In a graph whose symmetries are those
of the function, good permutations stay where the layer is and bad ones move away, so that a logistic regression tells
them apart; in a naive graph they do not.

Shape legend: d width, H heads, P parameters, N nodes, h hidden size of the graph network, n permutations.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from nino.graphs import NeuralGraph, neural_graph
from nino.graphs.registry import Topology
from nino.nowcasters import NiNoNet
from nino.nowcasters.engines.edges import EdgeList
from nino.nowcasters.scaling import EPSILON
from nino.seeding import derive
from nino.studies.attention import AttentionLayer, draw, permute

BATCH = 10


@dataclass(frozen=True)
class Reading:
    """How a graph network reads a neural graph.

    Args:
        label: how the table calls it.
        positions: whether nodes have their Laplacian positions. They follow from the graph without its weights and are
            no symmetric function of it, so a permutation that keeps the graph may still change the embedding.
        both_ways: whether messages go against the edges, too. Along them alone no message reaches a head: no edge
            ends there.
    """

    label: str
    positions: bool
    both_ways: bool


READINGS = {
    "nino": Reading("as NiNo", True, False),
    "no-positions": Reading("no positions", False, False),
    "both-ways": Reading("both ways, no positions", False, True),
}


def random_network(hidden: int, seed: int) -> NiNoNet:
    """A NiNo with random weights that carry signals of every size on: variance 1 / inputs, embeddings of variance 1.

    Args:
        hidden: h.
        seed: of the weights.

    Returns:
        The network; one as it is initialised for meta-training (deviation 0.02) would shrink an embedding to rounding.
    """
    net = NiNoNet(hidden=hidden)
    generator = torch.Generator().manual_seed(derive(seed, "weights"))
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(0, module.in_features**-0.5, generator=generator)
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(0, 1, generator=generator)
    return net


class Embedder:
    """Embeds parameters of a network by the graph network of a nowcaster, as means over nodes and edges.

    The history is c times the same state, scaled per tensor as NiNo does; all convolutions and edge updates are run, in
    float64.

    Args:
        net: the nowcaster.
        graph: of the network.
        reading: how it is read.
    """

    def __init__(self, net: NiNoNet, graph: NeuralGraph, reading: Reading = READINGS["nino"]) -> None:
        """See the class."""
        self.net = copy.deepcopy(net).double()
        self.graph = graph
        self._edges = EdgeList.of(graph)
        self._both_ways = reading.both_ways
        lpe = self.net.positions(graph, None)
        self._lpe = lpe if reading.positions else torch.zeros_like(lpe)

    @torch.no_grad()
    def __call__(self, parameters: Tensor) -> Tensor:
        """Embed several networks.

        Args:
            parameters: (n, P) float64, rows in ``named_parameters`` order.

        Returns:
            (n, 2 h): mean node states, then mean edge states.
        """
        return torch.cat([self._embed(chunk) for chunk in parameters.split(BATCH)])

    def _embed(self, parameters: Tensor) -> Tensor:
        net, count = self.net, len(parameters)
        edges = self._edges.repeat(count)
        scaled = torch.cat([_scaled(row, self.graph) if net.scaled else row for row in parameters])
        attributes = edges.features(scaled.unsqueeze(1).expand(-1, net.context), net.max_features)
        e = net.edge_proj(attributes) + net.layer_embed(edges.edge_type)
        index = edges.edge_index
        if self._both_ways:
            e, index = torch.cat([e, e]), torch.cat([index, index.flip(0)], 1)
        words = torch.zeros(edges.num_nodes, dtype=torch.long) if net.word_positions else None
        x = net.nodes(self._lpe.repeat(count, 1), words)
        for i, conv in enumerate(net.gnn.convs):
            x = F.silu(conv(x, index, e))
            if i < len(net.gnn.edge_update):
                e = net.gnn.edge_update[i](x, index, e)
        if self._both_ways:
            e = torch.stack(e.chunk(2)).mean(0)
        return torch.cat([x.unflatten(0, (count, -1)).mean(1), e.unflatten(0, (count, -1)).mean(1)], 1)


def _scaled(parameters: Tensor, graph: NeuralGraph) -> Tensor:
    parts = [parameters[p.slice] for p in graph.parameters]
    return torch.cat([(part - part.mean()) / (part.std() + EPSILON) for part in parts])


@dataclass(frozen=True)
class Embeddings:
    """What one kind of graph makes of the permutations.

    Args:
        topology: of the neural graph.
        reading: a key of ``READINGS``.
        original: (2 h,) embedding of the layer itself.
        permuted: (n, 2 h).
        good: (n,), whether each permutation keeps the function.
    """

    topology: str
    reading: str
    original: NDArray[np.float64]
    permuted: NDArray[np.float64]
    good: NDArray[np.bool_]

    def distances(self) -> NDArray[np.float64]:
        """(n,) distance of each permuted layer to the layer itself, relative to the embedding's norm."""
        moved: NDArray[np.float64] = np.linalg.norm(self.permuted - self.original, axis=1)
        return moved / np.linalg.norm(self.original)


def embeddings(
    net: NiNoNet, topologies: Sequence[Topology], width: int, heads: int, count: int, seed: int
) -> list[Embeddings]:
    """Embed the same permutations of one layer by each kind of graph, read in each way.

    Args:
        net: the nowcaster whose graph network embeds.
        topologies: of the graphs.
        width: d of the layer.
        heads: H of the layer, divides d.
        count: n permutations.
        seed: of layer and permutations.

    Returns:
        One entry a topology and a reading.

    Raises:
        ValueError: where ``heads`` does not divide ``width``, or there are too few permutations to split.
    """
    if width % heads or count < 20:
        raise ValueError(
            f"`width` (={width}) must be a multiple of `heads` (={heads}), and `count` (={count}) at least 20"
        )
    layer = AttentionLayer(width, heads, seed)
    drawn = draw(width, heads, count, seed, layer)
    state = {name: p.detach() for name, p in layer.named_parameters()}
    orders = zip(drawn.queries, drawn.values, strict=True)
    permuted = [_flat(permute(state, *map(torch.from_numpy, order))) for order in orders]
    parameters = torch.stack([_flat(state), *permuted])
    every = []
    variants = [(topology, name) for name in READINGS for topology in topologies]
    for topology, name in tqdm(variants, desc="embedding permutations", unit="graph", disable=None):
        embedded = Embedder(net, neural_graph(layer, topology), READINGS[name])(parameters).numpy()
        every.append(Embeddings(topology, name, embedded[0], embedded[1:], drawn.good))
    return every


def _flat(state: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in state.values()])
