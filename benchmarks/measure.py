"""One measurement in a process of its own, so that its peak memory is its own; prints one line of JSON.

python -m benchmarks.measure nowcast --model gpt2-3-64 --engine streamed
python -m benchmarks.measure train --model fm-16 --engine edges
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.models import NAMES, build, history
from nino import NiNo
from nino.graphs import neural_graph
from nino.measure import PeakMemory, elapsed, most_bytes, wall_clock
from nino.metatrain.optimize import engine_threads
from nino.nowcasters import NiNoNet


def repeated(work: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Seconds of each run by the wall clock: several threads work."""
    return [elapsed(work, device, wall_clock) for _ in range(repeats)]


def plain_products(hidden: int, rows: int, device: str, dtype: torch.dtype = torch.float32) -> float:
    """Multiply-adds a second of (rows, d) x (d, d) products on warm operands."""
    a, b = (torch.randn(n, hidden, device=device, dtype=dtype) for n in (rows, hidden))
    out = torch.empty(rows, hidden, device=device, dtype=dtype)
    work = lambda: [torch.mm(a, b, out=out) for _ in range(50)]  # noqa: E731
    work()
    return 50 * rows * hidden**2 / min(repeated(work, device, 5))


def nowcast(
    model_name: str,
    engine: str,
    hidden: int,
    device: str,
    repeats: int,
    dtype: torch.dtype = torch.float32,
    place: str = "host",
) -> dict[str, Any]:
    """Seconds and memory of a graph, its positions and full nowcasts.

    Args:
        model_name: one of ``benchmarks.models.NAMES``.
        engine: of the nowcast.
        hidden: of its network.
        device: where that computes.
        repeats: nowcasts.
        dtype: of the states and of large products.
        place: of the states, see ``benchmarks.models.history``.
    """
    on_gpu = torch.device(device).type != "cpu"
    model = build(model_name, device)
    started = wall_clock("cpu")
    graph = neural_graph(model)
    graph_seconds = wall_clock("cpu") - started
    lpe_seconds = elapsed(graph.lpe, "cpu", wall_clock)
    lpe = graph.lpe()
    net = NiNoNet(hidden=hidden).to(device)
    states = history(model, dtype=dtype, place=place)
    del model
    # the least work an engine of this algebra can do: 3 d^2 multiply-adds a weight's edge
    edges = sum(b.num_edges for b in graph.blocks if b.weight is not None)
    rate = plain_products(hidden, 1 << 18 if on_gpu else 2048 * torch.get_num_threads(), device, dtype)
    memory = PeakMemory(device)
    work = lambda: net.predict(graph, states, 20, lpe=lpe, engine=engine, precision=dtype)  # noqa: E731
    if on_gpu:
        work()  # kernels are loaded
    times = repeated(work, device, repeats)
    result = {
        "parameters": graph.num_parameters,
        "nodes": graph.num_nodes,
        "blocks": len(graph.blocks),
        "graph_seconds": graph_seconds,
        "lpe_seconds": lpe_seconds,
        "seconds": times,
        "peak_bytes": most_bytes(device),
        "peak_above_bytes": memory.peak(),
        "products_per_second": rate,
        "share_of_plain_products": 3 * hidden**2 * edges / min(times) / rate,
    }
    return result


def train(model_name: str, engine: str, hidden: int, device: str, repeats: int) -> dict[str, Any]:
    """Seconds of a meta-training step: 4 trajectories of 4 windows, 40 targets, 1000 words where there are words.

    ConvNet windows share one graph and go together; transformers' trajectories each have words of their own.
    """
    graph = neural_graph(build(model_name))
    windows, groups = (16, 1) if graph.word_nodes is None else (4, 4)
    if graph.word_nodes is not None:
        graph, _ = graph.sample_words(torch.arange(1000))
    net = NiNoNet(hidden=hidden).to(device)
    count = graph.num_parameters
    states = torch.randn(windows, count, 5, device=device)
    targets = torch.randn(windows, count, 40, device=device)
    mask = torch.ones(windows, 40, dtype=torch.bool, device=device)
    lpe = torch.randn(windows, graph.num_nodes, 8, device=device)

    def step() -> None:
        net.zero_grad()
        for _ in range(groups):
            net.training_loss(graph, states, targets, mask, lpe, engine=engine).backward()

    memory = PeakMemory(device)
    with engine_threads(engine, device):
        step()
        seconds = repeated(step, device, repeats)
    return {
        "parameters": count,
        "windows": windows * groups,
        "seconds": seconds,
        "peak_above_bytes": memory.peak(),
    }


def wrapper(model_name: str, engine: str, hidden: int, device: str, repeats: int) -> dict[str, Any]:
    """Seconds of the optimizer's steps that nowcast, that save a state and that do neither; without the model's own."""
    model = build(model_name, device)
    base = torch.optim.SGD(model.parameters(), lr=1e-4)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    graph, net = neural_graph(model), NiNoNet(hidden=hidden)
    opt = NiNo(base, model=model, nowcaster=net, period=10, max_train_steps=1000, graph=graph)
    seconds: dict[str, list[float]] = {"plain": [], "save": [], "nowcast": []}
    for _ in range(10 * repeats):
        due, held = opt.nowcast_next, len(opt.history)
        took = elapsed(opt.step, device, wall_clock)
        seconds["nowcast" if due else "save" if len(opt.history) > held else "plain"].append(took)
    parameters = sum(p.numel() for p in model.parameters())
    return {
        "parameters": parameters,
        "seconds": seconds["nowcast"],
        "save_seconds": seconds["save"],
        "plain_seconds": seconds["plain"],
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("nowcast", "train", "wrapper"))
    parser.add_argument("--model", choices=NAMES, required=True)
    parser.add_argument("--engine", choices=("streamed", "edges"), default="streamed")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--device", default="cpu", help="one of nino.device.device_names()")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    work = {"nowcast": nowcast, "train": train, "wrapper": wrapper}[args.what]
    result = work(args.model, args.engine, args.hidden, args.device, args.repeats)
    print(json.dumps({**vars(args), **result}))


if __name__ == "__main__":
    main()
