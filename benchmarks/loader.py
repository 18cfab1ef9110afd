"""Whether the loader keeps up: how long meta-training's batches take to make, beside the steps that use them.

Makes a shard of the task's shape (fm-16: 14,378 parameters, a state every 4 of 10,000 steps; random values) in a
temporary folder, times ``WindowSampler.batch`` by the recipe (4 trajectories of 4 windows, 45 states each), then runs a
real fit and reads its log: ``wait`` is what a step waited for its batch, which a thread prepares while the device
computes. ``batch_cpu_ms`` is the processor's time, which other processes on the machine do not stretch.

    python -m benchmarks.loader                                   # CPU
    python -m benchmarks.loader --task lm1b-3-24                  # 1.25M parameters, a state every 200 of 24,000 steps
    python -m benchmarks.loader --device auto --iterations 200
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch
from torch import nn

from nino.device import device_named
from nino.graphs import neural_graph
from nino.metatrain import WindowSampler, metatrain
from nino.specs import (
    DataSpec,
    EvaluationSpec,
    MetatrainSpec,
    ModelSpec,
    RecipeSpec,
    TargetSpec,
    TaskSpec,
    TrajectorySpec,
)
from nino.tasks import MODELS, DataSizes
from nino.trajectories import Header, TrajectoryReader, shard_seeds, writing_shard
from nino.trajectories.format import flat_order

TASKS = {
    "fm-16": TaskSpec(
        "fm-16-shaped",
        DataSpec("-"),
        ModelSpec("convnet", {"channels": [16, 32, 32]}),
        RecipeSpec("adam", 6e-3, 10_000, 128),
        TargetSpec("accuracy", 90.0),
        EvaluationSpec(1, 1),
    ),
    "lm1b-3-24": TaskSpec(
        "lm1b-3-24-shaped",
        DataSpec("-"),
        ModelSpec("gpt2", {"layers": 3, "width": 24, "heads": 3}),
        RecipeSpec("adamw", 2e-4, 24_000, 32, 1e-2),
        TargetSpec("perplexity", 352.0),
        EvaluationSpec(500, 500),
    ),
}
SIZES = {
    "fm-16": DataSizes("vision", (1, 28, 28), 10, {"train": 1, "validation": 1, "test": 1}, "-"),
    "lm1b-3-24": DataSizes("language", (1024,), 50_257, {"train": 1, "validation": 1, "test": 1}, "-"),
}
STATE_EVERY = {"fm-16": 4, "lm1b-3-24": 200}


def write(path: Path, task: str, model: nn.Module, models: int) -> None:
    """Write a shard of trajectories that begin at random values and drift by the same amount from state to state."""
    spec = TrajectorySpec(models, models, STATE_EVERY[task])
    shapes = [(name, tuple(p.shape)) for name, p in model.named_parameters()]
    header = Header(TASKS[task], spec, flat_order(shapes), "-", {}, "-")
    rng = np.random.default_rng(0)
    with writing_shard(path, header, shard_seeds(spec, 0)) as writer:
        for trajectory in range(models):
            state = rng.normal(size=header.num_parameters).astype(np.float32)
            for _ in header.stored_steps:
                state += 0.001
                writer.write(trajectory, state, {"train_loss": 1.0})


def measure(name: str, device: torch.device, iterations: int, batches: int, models: int) -> dict[str, float]:
    """Milliseconds of a batch, of a fit's step, and of its wait for the batch."""
    task = TASKS[name]
    model = MODELS[task.model.name](SIZES[name].synthetic(1, 1, 1), task.model.options)
    spec = MetatrainSpec("nino", iterations=iterations, validate_every=10**9, checkpoint_every=10**9)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "shard.h5"), name, model, models)
        sources = {task.id: (neural_graph(model), TrajectoryReader(Path(folder, "shard.h5")))}
        sampler = WindowSampler(sources, spec)
        sampler.batch(0)
        times = []
        for iteration in range(batches):
            start = perf_counter(), process_time()
            sampler.batch(iteration)
            times.append((perf_counter() - start[0], process_time() - start[1]))
        metatrain(spec, sources, Path(folder, "fit"), device=device, progress=False)
        with Path(folder, "fit", "log.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["seconds"]][2:]  # the first are made while nothing runs
    waits, steps = ([float(row[column]) for row in rows] for column in ("wait_seconds", "seconds"))
    return {
        "batch_ms": round(statistics.median(wall for wall, _ in times) * 1e3, 2),
        "batch_cpu_ms": round(statistics.median(cpu for _, cpu in times) * 1e3, 2),
        "step_ms": round(statistics.median(steps) * 1e3, 2),
        "wait_ms": round(statistics.median(waits) * 1e3, 3),
        "wait_ms_most": round(max(waits) * 1e3, 3),
        "waiting_share": round(sum(waits) / (sum(waits) + sum(steps)), 5),
        "iterations_per_second": round(len(rows) / (sum(waits) + sum(steps)), 3),
    }


def main() -> None:
    """Measure and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="fm-16", choices=TASKS, help="whose shape the trajectories have")
    parser.add_argument("--device", default="cpu", help="auto, or one of nino.device.device_names()")
    parser.add_argument("--iterations", type=int, default=12, help="of the fit")
    parser.add_argument("--batches", type=int, default=40, help="made without a fit")
    parser.add_argument("--models", type=int, default=3, help="trajectories, 72 MB each, 303 MB of lm1b-3-24")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = measure(args.task, device_named(args.device), args.iterations, args.batches, args.models)
    print(json.dumps(vars(args) | found))


if __name__ == "__main__":
    main()
