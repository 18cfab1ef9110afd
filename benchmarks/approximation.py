"""How far approximated nowcasts of a real training are from the exact one, in percent of the change that it predicts.

Trains a task's network for as long as one nowcast looks back (five states, 200 steps apart) and compares the nowcasts:
messages along a random share of the edges (mean of three samples), and the graph in parts.

    python -m benchmarks.approximation --config workflow/configs/cpu.yaml --task fm-16 --data-dir FOLDER
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch
from torch import Tensor

from nino.config.load import load
from nino.config.resolve import resolve
from nino.graphs import neural_graph
from nino.nowcasters import approximated, load_nowcaster
from nino.tasks import Task, load_task
from nino.tasks.task import default_data_dir
from nino.training import Training

SHARES = (0.5, 0.2, 0.05)
PARTS = ("block", "layer")
SAMPLES = 3
CONTEXT = 5  # states that a nowcast reads


def recent_states(training: Training, context: int, spacing: int) -> Tensor:
    """(P, context) float32, the last at the training's step ``context * spacing``."""
    states = []
    for _ in range(context):
        for _ in range(spacing):
            training.step()
        states.append(training.flat_parameters().clone())
    return torch.stack(states, 1)


def measure(task: Task, weights: str, seed: int, spacing: int, horizon: int) -> dict[str, float]:
    """Distance of each approximated nowcast from the exact one, in percent of the predicted change's norm."""
    training = Training(task, seed)
    exact = load_nowcaster(weights)
    states, graph = recent_states(training, CONTEXT, spacing), neural_graph(training.model)
    aim = exact.predict(graph, states, horizon)

    def off(edges: float | None = None, subgraphs: str | None = None, sample: int = 0) -> float:
        found = approximated(exact, edges, subgraphs, seed=sample).predict(graph, states, horizon)
        return float(100 * (found - aim).norm() / (aim - states[:, -1]).norm())

    shares = {f"{share:.0%} of the edges": [off(share, sample=i) for i in range(SAMPLES)] for share in SHARES}
    return {name: round(statistics.mean(found), 1) for name, found in shares.items()} | {
        f"by {part}": round(off(subgraphs=part), 1) for part in PARTS
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
    args = parser.parse_args()
    task = load_task(resolve(load(args.config)).tasks[args.task], args.data_dir)
    found = measure(task, args.weights, args.seed, args.spacing, args.horizon)
    said = {key: value for key, value in vars(args).items() if key not in ("config", "data_dir")}
    print(json.dumps({"config": [path.as_posix() for path in args.config]} | said | found))


if __name__ == "__main__":
    main()
