"""The nowcasting core's numbers: time, memory, cost a parameter, arithmetic, meta-training; table, plot and manifest.

    python -m benchmarks.core                         # everything; half an hour on 2 cores, the 111M model needs 6 GB
    python -m benchmarks.core --models --against --train fm-16              # these rows again, the others as they were
    python -m benchmarks.core --models gpt2-1-8 --against gpt2-1-8 --train fm-16 --hidden 16 --repeats 1 --out try

Writes ``core.json`` (every measurement, with its commit and time), ``core.md``, ``core.svg``, ``core.png`` and
``core.manifest.json``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from nino.files import replacing, write_json, write_text
from nino.provenance import git_commit, provenance

RESULTS = Path(__file__).parent / "results"
MODELS = ("gpt2-3-24", "gpt2-3-64", "gpt2-4-128", "gpt2-6-384", "llama-6-384")
logger = logging.getLogger(__name__)
Row = dict[str, Any]


def measure(what: str, model: str, engine: str, args: argparse.Namespace) -> Row:
    """One measurement in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.measure", what, "--model", model, "--engine", engine]
    command += ["--hidden", str(args.hidden), "--threads", str(args.threads), "--repeats", str(args.repeats)]
    command += ["--device", args.device]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    logger.info("%s %s %s", what, model, engine)
    folder = Path(__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    if done.returncode:
        logger.warning("%s %s %s failed: %s", what, model, engine, done.stderr.strip().splitlines()[-1:])
        return {"what": what, "model": model, "engine": engine, "failed": done.returncode}
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row | {"git": git_commit(), "when": datetime.now(UTC).isoformat(timespec="seconds")}


def collect(args: argparse.Namespace) -> list[Row]:
    """All measurements, one after the other."""
    rows = [measure("nowcast", model, "streamed", args) for model in args.models]
    rows += [measure("nowcast", model, "edges", args) for model in args.against]
    rows += [measure("train", model, engine, args) for model in args.train for engine in ("streamed", "edges")]
    return rows


def merged(old: list[Row], new: list[Row]) -> list[Row]:
    """Rows of an earlier run, those measured again in their new form.

    >>> merged([{"what": "nowcast", "model": "a", "engine": "edges"}], [])
    [{'what': 'nowcast', 'model': 'a', 'engine': 'edges'}]
    """
    rows = {(row["what"], row["model"], row["engine"]): row for row in [*old, *new]}
    return list(rows.values())


def table(rows: list[Row]) -> str:
    """The measurements as Markdown."""
    lines = [
        "| what | model | engine | parameters | seconds | ns a parameter | peak above model and states, MB | "
        "peak in all, MB | LPE, s | share of plain products |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        head = f"| {row['what']} | {row['model']} | {row['engine']} |"
        if "failed" in row:
            lines.append(f"{head} failed (exit code {row['failed']}: negative for a signal, -9 out of memory) |||||||")
            continue
        took = median(row["seconds"])
        total = f"{row['peak_bytes'] / 1e6:.0f}" if "peak_bytes" in row else ""
        lpe = f"{row['lpe_seconds']:.2f}" if "lpe_seconds" in row else ""
        share = f"{row['share_of_plain_products']:.2f}" if row["engine"] == "streamed" and "peak_bytes" in row else ""
        lines.append(
            f"{head} {row['parameters']:,} | {took:.3g} | {took / row['parameters'] * 1e9:.0f} | "
            f"{row['peak_above_bytes'] / 1e6:.0f} | {total} | {lpe} | {share} |"
        )
    return "\n".join(lines) + "\n\n" + "\n".join(ratios(rows)) + "\n"


def ratios(rows: list[Row]) -> list[str]:
    """Streamed against the edge list, where both were measured."""
    done = {(row["what"], row["model"], row["engine"]): row for row in rows if "failed" not in row}
    lines = []
    for (what, model, engine), edges in done.items():
        if engine == "edges" and (streamed := done.get((what, model, "streamed"))):
            faster = median(edges["seconds"]) / median(streamed["seconds"])
            less = edges["peak_above_bytes"] / max(streamed["peak_above_bytes"], 1)
            lines.append(f"- {what} {model}: {faster:.1f} times faster than the edge list, 1/{less:.1f} of its memory")
    return lines


def draw(rows: list[Row], folder: Path) -> None:
    """Cost a parameter over model size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    done = [r for r in rows if r["what"] == "nowcast" and r["engine"] == "streamed" and "failed" not in r]
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    sizes = [r["parameters"] for r in done]
    axes.plot(sizes, [median(r["seconds"]) / r["parameters"] * 1e9 for r in done], "o-")
    for row, size in zip(done, sizes, strict=True):
        height = median(row["seconds"]) / size * 1e9
        axes.annotate(row["model"], (size, height), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=7)
    axes.set(xscale="log", xlabel="parameters", ylabel="nanoseconds a parameter", title="A full-graph nowcast")
    axes.set_ylim(bottom=0, top=1.2 * axes.get_ylim()[1])
    axes.margins(x=0.15)
    for ending in ("svg", "png"):
        with replacing(folder / f"core.{ending}") as path:
            figure.savefig(path, format=ending, dpi=160)
    plt.close(figure)


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--against", nargs="*", default=("gpt2-3-24", "gpt2-3-64"), help="models for the edge list too")
    parser.add_argument("--train", nargs="*", default=("fm-16", "gpt2-3-24"))
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    before = args.out / "core.json"
    rows = merged(json.loads(before.read_text(encoding="utf-8")) if before.exists() else [], collect(args))
    write_json(args.out / "core.json", rows)
    write_text(args.out / "core.md", table(rows))
    draw(rows, args.out)
    about = provenance(options={name: str(value) for name, value in vars(args).items() if name != "out"})
    about |= {"command": " ".join(sys.orig_argv[1:]), "load": os.getloadavg(), "when": datetime.now(UTC).isoformat()}
    write_json(args.out / "core.manifest.json", about)
    logger.info("%s", table(rows))


if __name__ == "__main__":
    main()
