"""A nowcast that processes share: seconds and peak memory of each, by the number of processes of one core.

Each process holds the model whole (``ddp``) or its shard of it (``fsdp``), trains nothing, saves five states and takes
the nowcast. ``seconds`` is the wall clock of the last nowcast, ``cpu_seconds`` the processor's time in it, which other
work on the machine does not stretch; memory is what history and nowcast take above the model, at its peak.

    python -m benchmarks.shared_nowcast --out benchmarks/results/shared_nowcast.json    # 30M GPT-2, 1 and 2 processes
    python -m benchmarks.shared_nowcast --place fsdp --model gpt2-3-64 --processes 1 2 4
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.models import NAMES, build
from nino import NiNo
from nino.graphs import neural_graph
from nino.measure import PeakMemory, clock, most_bytes
from nino.nowcasters import build_nowcaster


def measure(model_name: str, place: str, hidden: int, nowcasts: int) -> dict[str, Any]:
    """What this process sees of its part of the nowcasts."""
    torch.manual_seed(0)
    model = build(model_name)
    graph = neural_graph(model)
    if place == "fsdp":
        from torch.distributed.fsdp import fully_shard

        fully_shard(model)
    predictor = build_nowcaster("nino", hidden=hidden)
    base = torch.optim.SGD(model.parameters(), lr=0.0)
    opt = NiNo(base, None, model, 5, 5 * nowcasts, nowcaster=predictor, graph=graph, horizons=1)
    memory = PeakMemory("cpu")
    wall, processor = [], []
    for step in range(1, 5 * nowcasts + 1):
        before = clock("cpu")
        opt.step()
        if step % 5 == 0:
            assert opt.last_nowcast is not None and opt.last_nowcast.accepted and opt.last_nowcast.seconds is not None
            wall.append(opt.last_nowcast.seconds)
            processor.append(clock("cpu") - before)
    return {
        "parameters": graph.num_parameters,
        "nodes": graph.num_nodes,
        "seconds": wall,
        "cpu_seconds": processor,
        "history_bytes": opt.history.nbytes,
        "peak_above_model_bytes": memory.peak(),
        "peak_bytes": most_bytes("cpu"),
    }


def row(processes: int, arguments: list[str]) -> dict[str, Any]:
    """Run the processes; the first nowcast, in which positions are computed, counts only where it is the only one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    about = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.shared_nowcast", "--worker", *arguments],
            env={**os.environ, **about, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    said = [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]
    return {
        "processes": processes,
        "parameters": said[0]["parameters"],
        "nodes": said[0]["nodes"],
        "seconds": max(median(rank["seconds"][1:] or rank["seconds"]) for rank in said),
        "cpu_seconds": max(median(rank["cpu_seconds"][1:] or rank["cpu_seconds"]) for rank in said),
        "history_bytes": max(rank["history_bytes"] for rank in said),
        "peak_above_model_bytes": max(rank["peak_above_model_bytes"] for rank in said),
        "peak_bytes": max(rank["peak_bytes"] for rank in said),
    }


def main() -> None:
    """Print a line a number of processes; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=NAMES, default="gpt2-6-384")
    parser.add_argument("--place", choices=("ddp", "fsdp"), default="ddp")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--nowcasts", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        torch.set_num_threads(1)
        dist.init_process_group("gloo")
        try:
            print(json.dumps(measure(args.model, args.place, args.hidden, args.nowcasts)))
        finally:
            dist.destroy_process_group()
        return
    asked = ["--model", args.model, "--place", args.place, "--hidden", str(args.hidden), "--nowcasts"]
    rows = []
    for processes in args.processes:
        rows.append({"model": args.model, "place": args.place} | row(processes, [*asked, str(args.nowcasts)]))
        print(json.dumps(rows[-1]), flush=True)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
