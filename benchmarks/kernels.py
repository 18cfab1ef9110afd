"""What the kernels that most machines share cost, and whose bits depend on kernels at all.

    python -m benchmarks.kernels        # two minutes

Trains small networks with plain Adam (AdamW for the language model) and nowcasts one of them, in turn with the kernels
that each library picks here and with those of ``NINO_KERNELS=shared``, each in a process of one thread. A round runs
both, so that a busy machine slows both; the cost is the median over rounds of the ratio of their times. Prints whether
a second process with the same kernels, and one with the others, gives the same bits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

from nino.kernels import SHARED, VARIABLE, choose_kernels, kernels

WORK = ("adam, digits ConvNet 16-32-32, batch 128", "adamw, GPT-2 of 3 layers, width 24", "NiNo, one nowcast of it")


def work(name: str) -> tuple[float, str]:
    """Seconds of a piece of work in this process, and the SHA-256 of the parameters that it ends with."""
    import torch

    from nino.graphs import neural_graph
    from nino.nowcasters import build_nowcaster
    from nino.specs import DataSpec, EvaluationSpec, ModelSpec, RecipeSpec, TargetSpec, TaskSpec
    from nino.tasks import load_task
    from nino.training import Training

    torch.set_num_threads(1)
    vision = name == WORK[0]
    data = DataSpec("digits") if vision else DataSpec("pydoc")
    model = (
        ModelSpec("convnet", {"channels": [16, 32, 32]})
        if vision
        else ModelSpec("gpt2", {"layers": 3, "width": 24, "heads": 3})
    )
    recipe = RecipeSpec("adam" if vision else "adamw", 3e-3, 1000, 128 if vision else 16)
    target = TargetSpec("accuracy", 90.0) if vision else TargetSpec("perplexity", 10.0)
    training = Training(load_task(TaskSpec("t", data, model, recipe, target, EvaluationSpec(10, 10))), 0)

    def steps() -> torch.Tensor:
        for _ in range(60):
            training.step()
        return torch.cat([p.detach().flatten() for p in training.model.parameters()])

    def nowcast() -> torch.Tensor:
        torch.manual_seed(0)
        graph = neural_graph(training.model)
        start = torch.cat([p.detach().flatten() for p in training.model.parameters()])
        states = torch.stack([start * (1 + 0.01 * i) for i in range(5)], 1)
        return build_nowcaster("nino").predict(graph, states, 5)

    run: Callable[[], torch.Tensor] = nowcast if name == WORK[2] else steps
    run()  # kernels are compiled, memory is there
    start = process_time()
    parameters = run()
    seconds = process_time() - start
    return seconds, hashlib.sha256(parameters.contiguous().numpy().tobytes()).hexdigest()


def measured(name: str, kernels: str) -> dict[str, Any]:
    """What `work` gives in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key not in SHARED}
    environment |= {"OMP_NUM_THREADS": "1", VARIABLE: kernels}
    command = [sys.executable, "-m", "benchmarks.kernels", "--work", name]
    return dict(json.loads(subprocess.check_output(command, env=environment, text=True)))


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of both kernels [default 5]")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        choose_kernels()
        seconds, digest = work(arguments.work)
        print(json.dumps({"seconds": seconds, "sha256": digest, "kernels": kernels()}))
        return
    for name in WORK:
        rounds = [{each: measured(name, each) for each in ("native", "shared")} for _ in range(arguments.rounds)]
        ratios = sorted(each["shared"]["seconds"] / each["native"]["seconds"] for each in rounds)
        bits = [{each[kind]["sha256"] for each in rounds} for kind in ("native", "shared")]
        print(f"{name}: shared kernels take {median(ratios):.2f} times as long ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        print(f"  the same bits in every process: {[len(found) == 1 for found in bits]}; of both: {bits[0] == bits[1]}")
    print(json.dumps({kind: rounds[0][kind]["kernels"] for kind in rounds[0]}, indent=2))


if __name__ == "__main__":
    main()
