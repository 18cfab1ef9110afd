"""One measurement in a process of its own, so that its peak memory is its own; prints one line of JSON.

python -m benchmarks.measure nowcast --model gpt2-3-64 --engine streamed
python -m benchmarks.measure train --model fm-16 --engine edges
"""

from __future__ import annotations

import argparse
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.models import NAMES, build, history
from nino.graphs import neural_graph
from nino.nowcasters import NiNoNet

MEGA = 1 << 20


def resident() -> int:
    """Bytes of memory that this process holds now (peak so far where the system does not say)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak()
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """Most bytes that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def seconds(work: Callable[[], Any], device: str, repeats: int) -> list[float]:
    """Seconds of each run."""
    found = []
    for _ in range(repeats):
        started = perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(perf_counter() - started)
    return found


def plain_products(hidden: int, rows: int, device: str) -> float:
    """Multiply-adds a second of float32 (rows, d) x (d, d) products on warm operands."""
    a, b = torch.randn(rows, hidden, device=device), torch.randn(hidden, hidden, device=device)
    out = torch.empty(rows, hidden, device=device)
    work = lambda: [torch.mm(a, b, out=out) for _ in range(50)]  # noqa: E731
    work()
    return 50 * rows * hidden**2 / min(seconds(work, device, 5))


def nowcast(model_name: str, engine: str, hidden: int, device: str, repeats: int) -> dict[str, Any]:
    """Seconds and memory of a graph, its positions and full nowcasts."""
    on_gpu = device == "cuda"
    model = build(model_name)
    started = perf_counter()
    graph = neural_graph(model)
    graph_seconds = perf_counter() - started
    started = perf_counter()
    lpe = graph.lpe()
    lpe_seconds = perf_counter() - started
    net = NiNoNet(hidden).to(device)
    states = history(model, device=device, dtype=torch.float32)
    # the least work an engine of this algebra can do: 3 d^2 multiply-adds a weight's edge
    edges = sum(b.num_edges for b in graph.blocks if b.weight is not None)
    rate = plain_products(hidden, 1 << 18 if on_gpu else 2048 * torch.get_num_threads(), device)
    before, peak_before = resident(), peak()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    times = seconds(lambda: net.predict(graph, states, 20, lpe=lpe, engine=engine), device, repeats)
    most = torch.cuda.max_memory_allocated() if on_gpu else peak()
    result = {
        "parameters": graph.num_parameters,
        "nodes": graph.num_nodes,
        "blocks": len(graph.blocks),
        "graph_seconds": graph_seconds,
        "lpe_seconds": lpe_seconds,
        "seconds": times,
        "resident_before_bytes": before,
        "peak_bytes": most,
        "peak_above_bytes": most - before,
        # a peak before the measurement would hide the measurement's own
        "peak_is_own": on_gpu or most > peak_before,
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
    net = NiNoNet(hidden).to(device)
    count = graph.num_parameters
    states = torch.randn(windows, count, 5, device=device)
    targets = torch.randn(windows, count, 40, device=device)
    mask = torch.ones(windows, 40, dtype=torch.bool, device=device)
    lpe = torch.randn(windows, graph.num_nodes, 8, device=device)

    def step() -> None:
        net.zero_grad()
        for _ in range(groups):
            net.training_loss(graph, states, targets, mask, lpe, engine=engine).backward()

    before = resident()
    step()
    return {
        "parameters": count,
        "windows": windows * groups,
        "seconds": seconds(step, device, repeats),
        "peak_above_bytes": peak() - before,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("nowcast", "train"))
    parser.add_argument("--model", choices=NAMES, required=True)
    parser.add_argument("--engine", choices=("streamed", "edges"), default="streamed")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    work = nowcast if args.what == "nowcast" else train
    result = work(args.model, args.engine, args.hidden, args.device, args.repeats)
    print(json.dumps({**vars(args), **result}))


if __name__ == "__main__":
    main()
