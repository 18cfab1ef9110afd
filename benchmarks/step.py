"""Where a step of a vision task goes on the CPU, and what threads, the allocator and the memory format change.

Each way runs in a process of its own (an allocator's setting cannot be taken back), the ways in turns, so that what the
machine does besides falls on all alike. ``ratio`` is a way's seconds a step over those of the plain way in the same
turn, the median and the range over the turns; the parts (batch, forward, backward, update) are of the median turn.
Images are random, of the task's shape.

    python -m benchmarks.step                                    # fm-16 and c10-16, about two minutes
    python -m benchmarks.step --tasks fm-32 --turns 9 --out benchmarks/results/step.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.write_cost import build
from nino.allocator import keep_freed_memory
from nino.files import write_json
from nino.provenance import git_commit, hardware, versions
from nino.training import Training

TASKS = ("fm-16", "fm-32", "c10-16", "c10-32")
PARTS = ("batch", "forward", "backward", "update")
# Threads, whether freed memory is kept, memory format. The first is what the nino command does.
WAYS = {
    "plain": (1, True, "contiguous"),
    "two threads": (2, True, "contiguous"),
    "allocator as it is": (1, False, "contiguous"),
    "channels last": (1, True, "channels_last"),
}


def steps_of(name: str, way: str, steps: int) -> dict[str, float]:
    """Milliseconds a step of each part, in this process."""
    threads, keep, layout = WAYS[way]
    torch.set_num_threads(threads)
    if keep:
        keep_freed_memory()
    task, _ = build(name, "cpu", None)
    training = Training(task, 0)
    memory_format = getattr(torch, f"{layout}_format" if layout == "contiguous" else layout)
    training.model.to(memory_format=memory_format)
    spent = dict.fromkeys(PARTS, 0.0)
    for i in range(steps + 10):
        if i == 10:  # warm
            spent = dict.fromkeys(PARTS, 0.0)
        times = [perf_counter()]
        images, labels = training.next_batch()
        images = images.contiguous(memory_format=memory_format)
        times.append(perf_counter())
        training.optimizer.zero_grad()
        loss = task.loss(training.model, (images, labels))
        times.append(perf_counter())
        loss.backward()
        times.append(perf_counter())
        training.optimizer.step()
        times.append(perf_counter())
        training.steps += 1
        for part, begin, end in zip(PARTS, times[:-1], times[1:], strict=True):
            spent[part] += 1e3 * (end - begin) / steps
    return spent


def compare(name: str, turns: int, steps: int) -> list[dict[str, Any]]:
    """A row a way."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(turns):
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.step", "--child", name, way, "--steps", str(steps)]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[way].append(json.loads(out))
    totals = {way: [sum(turn.values()) for turn in rows] for way, rows in found.items()}
    rows = []
    for way, of_turns in found.items():
        ratios = sorted(a / b for a, b in zip(totals[way], totals["plain"], strict=True))
        middle = totals[way].index(statistics.median_low(totals[way]))
        rows.append(
            {
                "task": name,
                "way": way,
                "step_ms": round(totals[way][middle], 2),
                "parts_ms": {part: round(value, 3) for part, value in of_turns[middle].items()},
                "ratio": round(statistics.median(ratios), 3),
                "range": [round(ratios[0], 3), round(ratios[-1], 3)],
            }
        )
    return rows


def main() -> None:
    """Measure, print a line each and, where asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["fm-16", "c10-16"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100, help="steps a turn and way")
    parser.add_argument("--child", nargs=2, metavar=("TASK", "WAY"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(steps_of(*args.child, args.steps)))
        return
    rows = []
    for name in args.tasks:
        for row in compare(name, args.turns, args.steps):
            rows.append(row)
            parts = ", ".join(f"{part} {value:.2f}" for part, value in row["parts_ms"].items())
            print(
                f"{name}, {row['way']}: {row['step_ms']} ms ({parts}), ratio {row['ratio']} {row['range']}", flush=True
            )
    if args.out:
        about = {"turns": args.turns, "steps": args.steps, "git": git_commit()}
        write_json(args.out, {**about, "hardware": hardware(), "versions": versions(), "figures": rows})


if __name__ == "__main__":
    main()
