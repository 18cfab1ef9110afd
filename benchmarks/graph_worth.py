"""Is the recorded graph worth it? Two models that no declaration knows, trained with and without it.

    python -m benchmarks.graph_worth --data-dir FOLDER --runs FOLDER            # 24 runs of some minutes on a core each
    python -m benchmarks.graph_worth --data-dir FOLDER --runs FOLDER --seeds 1000 --rows base nino
    python -m benchmarks.graph_worth --data-dir FOLDER --runs FOLDER --steps 50 --out try

The models: a ViT of timm on CIFAR-10 (``cifar10.npz``), a GPT in the style of nanoGPT on bytes of Wikipedia
(``enwiki_train_100MB.txt.gz``, ``enwiki_test.txt.gz``), both in the data folder. The rows: the base optimizer; WNN+,
which reads no wiring; NiNo with the recorded graph; NiNo with the graph that a trace, or the order of registration,
gave before forwards were recorded, what these do not place being carried. Weights are the published ones. Seeds,
batches and budget are the same in all rows. "At the end" is the mean over the last 1000 steps; the target is what the
base optimizer comes to at the end, the mean over its seeds. The learning rate is nanoGPT's for small networks; of 5e-4,
1e-3 and 2e-3 it was best for the ViT, too (AdamW, seed 0, 3000 steps: 43.9, 44.4, 42.3 %).

A finished run is left as it is, a killed one goes on. Writes ``graph_worth.csv`` (a row a run), ``graph_worth.md`` and
``graph_worth.manifest.json``.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import logging
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import nn

from benchmarks.nanogpt import GPT
from nino.allocator import keep_freed_memory
from nino.evaluate.run import evaluate_run
from nino.files import write_json, write_text
from nino.graphs import GraphBuilder, neural_graph, register_graph
from nino.graphs.feedforward import declare_feedforward, declare_in_order
from nino.graphs.feedforward.wiring import Untraceable
from nino.provenance import provenance
from nino.specs import (
    DataSpec,
    EvaluationSpec,
    MethodSpec,
    ModelSpec,
    RecipeSpec,
    ScheduleSpec,
    TargetSpec,
    TaskSpec,
)
from nino.tasks import Task
from nino.tasks.data import Data, joint_digest
from nino.tasks.language import byte_blocks
from nino.tasks.registry import MODELS
from nino.tasks.torchvision_ops import declare_missing_operators
from nino.tasks.vision import train_and_test_images

RESULTS = Path(__file__).parent / "results"
TRAIN_BYTES, TEST_BYTES, BLOCK = 8_000_000, 100_000, 33
SEEDS = (1000, 2000, 3000)
EVERY = 250  # steps between measurements
COLUMNS = ("task", "row", "seed", "status", "at_end", "best", "steps_to_target", "carried", "parameters",
           "train_seconds", "nowcast_seconds")  # fmt: skip
#: In this order: the last one declares the two models for the whole process.
ROWS = {
    "base": MethodSpec("base", "none", label="AdamW"),
    "wnn+": MethodSpec("wnn+", "checkpoint", label="WNN+", path="nino_mlp"),
    "nino": MethodSpec("nino", "checkpoint", label="NiNo, recorded graph", path="nino_no_posw"),
    "before": MethodSpec(
        "before", "checkpoint", label="NiNo, graph as before", path="nino_no_posw", options={"unknown": "carry"}
    ),
}
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}
NANOGPT = {"layers": 3, "heads": 3, "width": 48}


def vit(data: Data, options: Mapping[str, Any]) -> nn.Module:
    """A ViT of timm."""
    declare_missing_operators()
    import timm

    model: nn.Module = timm.create_model("vit_tiny_patch16_224", num_classes=data.outputs, **options)
    return model


def nanogpt(data: Data, options: Mapping[str, Any]) -> nn.Module:
    """A GPT in the style of nanoGPT."""
    return GPT(data.outputs, data.shape[0], **options)


def wikipedia(folder: Path) -> Data:
    """Blocks of bytes: the first of the training file, those of the test file for validation and test."""
    texts = []
    for name, size in (("train_100MB", TRAIN_BYTES), ("test", 2 * TEST_BYTES)):
        with gzip.open(folder / f"enwiki_{name}.txt.gz") as file:
            texts.append(file.read(size).decode(errors="ignore"))
    held = texts[1].encode()
    parts = [texts[0], held[:TEST_BYTES].decode(errors="ignore"), held[TEST_BYTES:].decode(errors="ignore")]
    splits = [byte_blocks(part, BLOCK) for part in parts]
    facts = {"source": "enwiki", "tokenizer": "bytes"}
    return Data("language", *splits, (BLOCK,), 256, joint_digest(*splits), facts)


def tasks(data_dir: Path, steps: int) -> Iterator[Task]:
    """The two tasks; the values of their targets are placeholders, which stop no run and enter no table."""
    recipe = RecipeSpec("adamw", 1e-3, steps, 32, 1e-2)
    every = EvaluationSpec(min(EVERY, steps), min(EVERY, steps))
    target = TargetSpec("accuracy", 50.0)
    spec = TaskSpec("c10-vit", DataSpec("cifar10", "npz"), ModelSpec("timm-vit", VIT), recipe, target, every)
    yield Task(spec, train_and_test_images(spec.data, data_dir))
    recipe = RecipeSpec("adamw", 1e-3, steps, 16, 1e-2)
    target = TargetSpec("perplexity", 7.0)
    spec = TaskSpec("wiki-nanogpt", DataSpec("text"), ModelSpec("nanogpt", NANOGPT), recipe, target, every)
    yield Task(spec, wikipedia(data_dir))


def declare_as_before(b: GraphBuilder, model: nn.Module) -> None:
    """What a trace of the forward places, or else the layers in the order in which they are registered."""
    try:
        declare_feedforward(b, model)
    except Untraceable:
        declare_in_order(b, model)


def carried(task: Task, row: str) -> int:
    """Parameters that the row's nowcasts leave to the base optimizer."""
    if row in ("base", "wnn+"):
        return 0
    graph = neural_graph(task.build_model(0), unknown="carry")
    return sum(p.numel for p in graph.parameters if p.name in set(graph.carried))


def run(task: Task, row: str, seed: int, folder: Path) -> dict[str, Any]:
    """One run, or what it came to before: a row of the file, and its curve as (step, value) pairs."""
    steps = task.spec.recipe.steps
    schedule = ScheduleSpec(period=1000 if steps >= 1000 else 5 * (steps // 25))
    folder = folder / task.spec.id / row / str(seed)
    result = evaluate_run(task, ROWS[row], seed, schedule, folder)
    with (folder / "log.csv").open(encoding="utf-8") as file:
        curve = [(int(line["step"]), float(line["test"])) for line in csv.DictReader(file)]
    left = carried(task, row)
    at_end = mean(value for step, value in curve if step > steps - 1000)
    return result | {"row": row, "carried": left, "curve": curve, "at_end": at_end}


def with_targets(rows: list[dict[str, Any]], spec: TaskSpec) -> list[dict[str, Any]]:
    """A task's rows with the first measured step at which each is as good as the base optimizer at the end."""
    mine = [row for row in rows if row["task"] == spec.id]
    base = [row["at_end"] for row in mine if row["row"] == "base"]
    sign = 1 if spec.target.higher_is_better else -1
    met = lambda value: bool(base) and sign * value >= sign * mean(base)  # noqa: E731
    return [row | {"steps_to_target": next((step for step, value in row["curve"] if met(value)), None)} for row in mine]


def table(rows: list[dict[str, Any]], specs: list[TaskSpec]) -> str:
    """Means over the seeds as Markdown, single seeds in brackets."""
    lines = []
    for spec in specs:
        better = "higher" if spec.target.higher_is_better else "lower"
        lines += [
            f"{spec.id}, {spec.target.metric} on the test split ({better} is better):",
            "",
            "| method | at the end | best | steps to the target | carried | nowcasts, s |",
            "|---|---|---|---|---|---|",
        ]
        for name, method in ROWS.items():
            mine = [row for row in rows if (row["task"], row["row"]) == (spec.id, name)]
            if not mine:
                continue
            cells = [_cell([row[key] for row in mine], form) for key, form in _FORMS]
            share = mine[0]["carried"] / mine[0]["parameters"]
            seconds = mean(row["nowcast_seconds"] for row in mine)
            lines.append(f"| {method.label} | {' | '.join(cells)} | {share:.1%} | {seconds:.0f} |")
        lines.append("")
    return "\n".join(lines)


_FORMS = (("at_end", "{:.2f}"), ("best", "{:.2f}"), ("steps_to_target", "{:.0f}"))


def _cell(values: list[float | None], form: str) -> str:
    each = ", ".join("never" if v is None else form.format(v) for v in values)
    known = [v for v in values if v is not None]
    return f"{form.format(mean(known))} ({each})" if len(known) == len(values) else f"- ({each})"


def main() -> None:
    """Train what is missing, and write what there is after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs' logs and checkpoints")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=10_000)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    keep_freed_memory()
    MODELS.update({"timm-vit": vit, "nanogpt": nanogpt})
    made = list(tasks(args.data_dir, args.steps))
    rows: list[dict[str, Any]] = []
    for row in (name for name in ROWS if name in args.rows):
        if row == "before":
            for task in made:
                register_graph(type(task.build_model(0)), declare_as_before)
        for seed in args.seeds:
            for task in made:
                rows.append(run(task, row, seed, args.runs))
                write(args, rows, made)


def write(args: argparse.Namespace, rows: list[dict[str, Any]], made: list[Task]) -> None:
    """The rows so far, their table, and where they come from."""
    rows = [row for task in made for row in with_targets(rows, task.spec)]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    args.out.mkdir(parents=True, exist_ok=True)
    write_text(args.out / "graph_worth.csv", text.getvalue())
    write_text(args.out / "graph_worth.md", table(rows, [task.spec for task in made]))
    about = provenance(
        tasks=[task.describe() for task in made],
        rows=[ROWS[row].to_dict() for row in args.rows],
        seeds=list(args.seeds),
        timm=version("timm"),
    )
    write_json(args.out / "graph_worth.manifest.json", about)


if __name__ == "__main__":
    main()
