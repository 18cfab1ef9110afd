"""What storing states adds to training: the same training with and without it, in turns, as ratios.

Both trainings do the same steps on the same values, a stretch in turn each, so that what the machine does besides falls
on both alike; each turn's ratio is taken on its own, the interval is that of their median (bootstrap, 95 %). On the CPU
time is the process's own. ``batch`` is what a step waits for its images or tokens. ``storing`` is what the stores alone
took (copying to the CPU, float16, HDF5), to the training beside them: the steadier figure where a turn has few stores.
Images are random, as many as the task has, or real with ``--data-dir``.

    python -m benchmarks.write_cost                              # both tasks on the CPU, about three minutes
    python -m benchmarks.write_cost --tasks fm-16 --turns 40 --members 8 --device cuda
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from nino.allocator import keep_freed_memory
from nino.config.load import load
from nino.config.resolve import resolve
from nino.ensemble import Ensemble
from nino.files import write_json
from nino.measure import clock
from nino.provenance import git_commit, hardware, versions
from nino.specs import TrajectorySpec
from nino.tasks import Task, data_sizes, default_data_dir, load_task
from nino.training import Training
from nino.trajectories import ShardWriter, writing_shard
from nino.trajectories.collect import make_header

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
# Steps a turn; each holds some stores. A language task's steps are of a few short blocks: the real ones, of 32 x 1024
# tokens, take hundreds of times as long, so its ratio here is an upper bound.
TURN = {"fm-16": 200, "c10-16": 200, "lm1b-3-24": 200, "lm1b-2-32": 200}
BLOCK, BATCH = 64, 1


def build(name: str, device: str, data_dir: Path | None) -> tuple[Task, TrajectorySpec]:
    """A task of the benchmark and how its trajectories are collected."""
    run = resolve(load((), ROOT / "config.yaml"))
    spec = run.tasks[name]
    if spec.model.name == "gpt2":
        data = replace(spec.data, options={**spec.data.options, "block": BLOCK})
        spec = replace(spec, data=data, recipe=replace(spec.recipe, batch_size=BATCH))
    if data_dir is not None:
        return load_task(spec, data_dir, device=device), run.trajectories[name]
    sizes = data_sizes(spec, default_data_dir())
    examples = sizes.examples["train"] if sizes.kind == "vision" else 4096
    return Task(spec, sizes.synthetic(examples, 1, 1), device), run.trajectories[name]


class Side:
    """One of the two trainings.

    Args:
        task: what is trained.
        members: networks at once.
        every: steps between stores.
        writer: where states go; None stores nothing.
    """

    def __init__(self, task: Task, members: int, every: int, writer: ShardWriter | None) -> None:
        """See the class."""
        self.group = Ensemble([Training(task, seed) for seed in range(members)])
        self.every, self.writer, self.device = every, writer, task.device
        self.step = 0
        self.stored = 0.0

    def advance(self, steps: int) -> float:
        """Seconds of some steps."""
        start = clock(self.device)
        for _ in range(steps):
            states = None
            if self.writer is not None and self.step % self.every == 0:
                begin = clock(self.device)
                states = self.group.flat_parameters().to(torch.float16).cpu().numpy()
                self.stored += clock(self.device) - begin
            losses = self.group.step()
            if states is not None and self.writer is not None:
                values = losses.tolist()
                begin = clock(self.device)
                for i, state in enumerate(states):
                    assert self.writer.write(i, state, {"train_loss": values[i]})
                self.stored += clock(self.device) - begin
            self.step += 1
        return clock(self.device) - start


@contextmanager
def sides(task: Task, members: int, every: int, steps: int) -> Iterator[tuple[Side, Side]]:
    """The training without stores, and the one with."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        spec = TrajectorySpec(models=members, models_per_shard=members, state_every=every, steps=steps)
        writer = stack.enter_context(writing_shard(folder / "states.h5", make_header(task, spec), list(range(members))))
        yield Side(task, members, every, None), Side(task, members, every, writer)


def compare(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """All figures of a task."""
    task, spec = build(name, args.device, args.data_dir)
    steps = args.steps or TURN[name]
    bare: list[float] = []
    storing: list[float] = []
    with sides(task, args.members, spec.state_every, steps * (args.turns + 1)) as both:
        for side in both:
            side.advance(min(steps, 20))
        both[1].stored = 0.0
        for turn in range(args.turns):
            for which in (0, 1) if turn % 2 else (1, 0):
                (bare, storing)[which].append(both[which].advance(steps))
        stored = both[1].stored
        feed = feeding(both[0])
    ratios = [b / a for a, b in zip(bare, storing, strict=True)]
    low, high = interval(ratios)
    states = args.turns * steps // spec.state_every * args.members
    return {
        "task": name,
        "parameters": task.num_parameters(),
        "members": args.members,
        "batch": task.spec.recipe.batch_size,
        "state_every": spec.state_every,
        "turns": args.turns,
        "steps_a_turn": steps,
        "device": args.device,
        "data": "real" if args.data_dir else "random",
        "step_us": statistics.median(bare) / steps / args.members * 1e6,
        "store_us": stored / states * 1e6,
        "feed_us": feed * 1e6,
        "ratio": statistics.median(ratios),
        "interval": [low, high],
        "storing": stored / (sum(storing) - stored),
    }


def feeding(side: Side, steps: int = 200) -> float:
    """Seconds of a batch of one network: chosen by the order, gathered from memory, normalised."""
    training = side.group.release()[0]
    start = clock(side.device)
    for _ in range(steps):
        training.next_batch()
        training.steps += 1
    return (clock(side.device) - start) / steps


def interval(values: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(2000))
    return medians[49], medians[1949]


def keep(path: Path, found: dict[str, Any]) -> None:
    """Write a task's figures beside those of others that were measured before, each with where it was."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    row = found | {"git": git_commit(), "hardware": hardware(), "versions": versions()}
    same = ("task", "device", "members")
    write_json(path, [each for each in old if any(each[key] != found[key] for key in same)] + [row])


def main() -> None:
    """Measure, print and, where asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=sorted(TURN), default=["fm-16", "lm1b-3-24"])
    parser.add_argument("--device", default="cpu", help="one of nino.device.device_names()")
    parser.add_argument("--members", type=int, default=1, help="networks trained at once")
    parser.add_argument("--turns", type=int, default=20, help="turns of each training")
    parser.add_argument("--steps", type=int, help="steps a turn; default 200")
    parser.add_argument("--data-dir", type=Path, help="folder of data sets; default random data of the same shape")
    parser.add_argument("--out", type=Path, help=f"JSON file for the figures, e.g. {RESULTS.name}/write_cost.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    for name in args.tasks:
        found = compare(name, args)
        print(
            f"{name} ({found['parameters']:,} parameters, {args.device}, {args.members} at once, a state every "
            f"{found['state_every']} steps): step {found['step_us']:.0f} us, store {found['store_us']:.0f} us, batch "
            f"{found['feed_us']:.0f} us, ratio "
            f"{found['ratio']:.4f} [{found['interval'][0]:.4f}, {found['interval'][1]:.4f}], "
            f"storing {100 * found['storing']:.2f} % of training",
            flush=True,
        )
        if args.out:
            keep(args.out, found)


if __name__ == "__main__":
    main()
