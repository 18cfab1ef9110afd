"""NiNo without edges in memory: every block is streamed through a chunk that stays in the cache, nothing approximated.

A pass over the blocks for each convolution that matters and one for the prediction (``nino.nowcasters.engines.fold``
has the algebra, ``nino.nowcasters.engines.stream`` the passes). Memory is O(nodes*d + threads*chunk*d);
(2L - 3) d^2 multiply-adds an edge, 3 d^2 at L = 3.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import NeuralGraph
from nino.nowcasters.engines.fold import fold
from nino.nowcasters.engines.reader import Reader
from nino.nowcasters.engines.sample import EdgeSample
from nino.nowcasters.engines.scratch import Scratch
from nino.nowcasters.engines.stream import Stream
from nino.nowcasters.engines.tiles import all_blocks, inflows
from nino.nowcasters.network import Network
from nino.nowcasters.scaling import Scale, UnscaleMode
from nino.nowcasters.states import States
from nino.threads import Workers

CHUNK_CPU = 2048  # edges
CHUNK_GPU = 1 << 18
RANGE = 1 << 14  # edges into a range of targets, which one thread works on


def predict_streamed(
    net: Network,
    graph: NeuralGraph,
    states: States,
    k: int,
    lpe: Float[Tensor, "nodes lpe"],
    scales: list[Scale],
    unscale: UnscaleMode,
    out: Float[Tensor, " params"],
    memory_budget: int | None = None,
    precision: torch.dtype = torch.float32,
    sample: EdgeSample | None = None,
    threads: int = 1,
) -> Float[Tensor, " params"]:
    """Run the passes; see ``NiNoNet.predict``, whose checks have been made.

    Args:
        net: the network; its weights' device computes.
        graph: the network's neural graph.
        states: past states, oldest first.
        k: horizon.
        lpe: node positions, on the computing device.
        scales: one a parameter.
        unscale: how updates are taken back to parameters.
        out: float32, holds the last states; updates are added to it.
        memory_budget: bytes for the chunk's buffers.
        precision: of the edges' matrix products.
        sample: edges that messages travel on; None takes all.
        threads: that work on a CPU; a small budget allows fewer.

    Returns:
        ``out``.
    """
    device = lpe.device
    features = max([b.features for b in graph.blocks], default=1) * net.context
    size = Scratch.bytes_an_edge(features, net.hidden)
    chunk = min(chunk_size(memory_budget, size, device), max(b.num_edges for b in all_blocks(graph)))
    ranges = inflows(graph, RANGE if device.type == "cpu" else None)
    with Workers(affordable(threads, memory_budget, chunk * size), device) as workers:
        exact = workers.call(lambda: fold(net, lambda t: t.detach().double()))
        x = torch.empty(graph.num_nodes, net.hidden, device=device)
        words = graph.word_index().to(device) if net.word_positions else None

        def begin(nodes: slice) -> None:
            x[nodes] = net.nodes(lpe[nodes], None if words is None else words[nodes])

        workers.run(lambda inflow: begin(inflow.nodes), ranges)
        layers = exact.to(torch.float32).nodes
        reader = Reader(graph, states, scales, device)
        stream = Stream(graph, exact.to(precision), layers, reader, x, chunk, features, workers, sample)
        for _ in layers:
            stream.convolve(ranges)
        workers.run(lambda inflow: stream.write(inflow, k, unscale, out), ranges)
    return out


def chunk_size(memory_budget: int | None, size: int, device: torch.device) -> int:
    """Edges a chunk.

    Args:
        memory_budget: bytes for all chunks; None leaves the chunk as the caches like it.
        size: bytes an edge.
        device: where the chunk lies.

    >>> chunk_size(1_000_000, 1792, torch.device("cpu"))
    558

    Raises:
        ValueError: for a budget that holds no edge.
    """
    most = CHUNK_CPU if device.type == "cpu" else CHUNK_GPU
    if memory_budget is None:
        return most
    if memory_budget < size:
        raise ValueError(f"`memory_budget` (={memory_budget}) must be at least {size} bytes")
    return min(memory_budget // size, most) if device.type == "cpu" else memory_budget // size


def affordable(threads: int, memory_budget: int | None, size: int) -> int:
    """Threads whose chunks of ``size`` bytes a budget holds, one at least.

    >>> affordable(8, 10_000_000, 3_670_016), affordable(8, None, 3_670_016)
    (2, 8)
    """
    return threads if memory_budget is None else max(min(threads, memory_budget // size), 1)
