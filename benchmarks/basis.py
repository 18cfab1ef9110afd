"""How much a nowcast of a real training depends on the basis that stands for equal eigenvalues of the neural graph.

The positional encoding takes eigenvectors 1..8 of the Laplacian; within equal eigenvalues LAPACK's kernels choose them.
Here random orthogonal matrices choose: the nowcast's distance from that of the usual basis, in percent of the change
that it predicts, median and range.

    python -m benchmarks.basis --config workflow/configs/cpu.yaml --task fm-16 --data-dir FOLDER
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.approximation import CONTEXT, recent_states
from nino.config.load import load
from nino.config.resolve import resolve
from nino.graphs import NeuralGraph, neural_graph
from nino.graphs.laplacian import BlockAdjacency, block_ranges
from nino.nowcasters import load_nowcaster
from nino.tasks import Task, load_task
from nino.tasks.task import default_data_dir
from nino.training import Training

EQUAL = 1e-9  # eigenvalues that are closer are the same
LARGEST = 4000  # nodes that are decomposed whole


def encodings(graph: NeuralGraph, count: int, k: int = 8) -> tuple[list[Tensor], int]:
    """Encodings (N, k) in random bases, and in how many of their columns these differ."""
    if graph.num_nodes > LARGEST:
        raise ValueError(f"the graph has {graph.num_nodes} nodes, of which {LARGEST} at most are decomposed whole")
    adjacency = BlockAdjacency(graph.num_nodes, block_ranges(graph.blocks)) @ np.eye(graph.num_nodes)
    scale = np.maximum(adjacency.sum(axis=1), 1) ** -0.5
    values, vectors = np.linalg.eigh(np.eye(graph.num_nodes) - scale[:, None] * adjacency * scale)
    groups = np.split(np.arange(graph.num_nodes), np.flatnonzero(np.diff(values) > EQUAL) + 1)
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        turned = [vectors[:, g] @ np.linalg.qr(rng.standard_normal((len(g), len(g))))[0] for g in groups]
        found.append(torch.from_numpy(np.concatenate(turned, axis=1)[:, 1 : k + 1].astype(np.float32)))
    free = {int(i) for group in groups if len(group) > 1 for i in group} & set(range(1, k + 1))
    return found, len(free)


def measure(task: Task, weights: str, seed: int, spacing: int, horizon: int, bases: int) -> dict[str, Any]:
    """Distances of nowcasts in random bases from the usual one, in percent of the predicted change's norm."""
    training = Training(task, seed)
    nowcaster = load_nowcaster(weights)
    states, graph = recent_states(training, CONTEXT, spacing), neural_graph(training.model)
    usual = nowcaster.predict(graph, states, horizon)
    drawn, free = encodings(graph, bases)
    apart = []
    for encoding in drawn:
        other = replace(graph, _cache={"lpe8": encoding})
        change = nowcaster.predict(other, states, horizon) - usual
        apart.append(float(100 * change.norm() / (usual - states[:, -1]).norm()))
    return {
        "columns of equal eigenvalues": free,
        "median": round(statistics.median(apart), 2),
        "least": round(min(apart), 2),
        "most": round(max(apart), 2),
    }


def main() -> None:
    """Measure and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, action="append", default=[], help="overlay; may be repeated")
    parser.add_argument("--task", default="fm-16", help="of the config")
    parser.add_argument("--weights", default="nino_no_posw", help="known name or file of a NiNo")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir(), help="folder of data sets")
    parser.add_argument("--seed", type=int, default=1000, help="of the training")
    parser.add_argument("--spacing", type=int, default=200, help="steps between states")
    parser.add_argument("--horizon", type=int, default=40, help="states ahead")
    parser.add_argument("--bases", type=int, default=20, help="that are drawn")
    args = parser.parse_args()
    task = load_task(resolve(load(args.config)).tasks[args.task], args.data_dir)
    found = measure(task, args.weights, args.seed, args.spacing, args.horizon, args.bases)
    said = {key: value for key, value in vars(args).items() if key not in ("config", "data_dir")}
    print(json.dumps({"config": [path.as_posix() for path in args.config]} | said | found))


if __name__ == "__main__":
    main()
