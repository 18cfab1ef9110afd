"""The nowcasting core's numbers: time, memory, cost a parameter, arithmetic, meta-training; table, plot and manifest.

Models named by ``--beside`` (and all of ``--train``) are measured with one thread, too, and beside busy neighbours: one
process a core that does nothing but count, started and ended here. All else should be quiet; each row has the load.

    python -m benchmarks.core                         # everything; 40 minutes on 2 cores, the 111M model needs 6 GB
    python -m benchmarks.core --models --against --train fm-16              # these rows again, the others as they were
    python -m benchmarks.core --models fm-16 --against fm-16 --train --wrapper --hidden 16 --repeats 1 --out try

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
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from nino.files import replacing, write_json, write_text
from nino.provenance import git_commit, provenance

RESULTS = Path(__file__).parent / "results"
MODELS = ("gpt2-3-24", "gpt2-3-64", "gpt2-4-128", "gpt2-6-384", "llama-6-384")
RELEASED = (
    "The released code, a published number measured on two cores of this kind: 61 to 133 s a nowcast of gpt2-3-64 "
    "(90 s in the minutes in which the wrapper's took 8.7 s; 145 s beside two busy processes)."
)
logger = logging.getLogger(__name__)
Row = dict[str, Any]


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep as many processes busy meanwhile."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def measure(what: str, model: str, engine: str, args: argparse.Namespace, threads: int = 0, beside: int = 0) -> Row:
    """One measurement in a fresh process, with ``args.threads`` or as many as given, beside busy neighbours."""
    threads = threads or args.threads
    command = [sys.executable, "-m", "benchmarks.measure", what, "--model", model, "--engine", engine]
    command += ["--hidden", str(args.hidden), "--threads", str(threads), "--repeats", str(args.repeats)]
    command += ["--device", args.device]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    logger.info("%s %s %s, %d threads, %d neighbours", what, model, engine, threads, beside)
    folder, load = Path(__file__).parent.parent, os.getloadavg()[0]
    with neighbours(beside):
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    about = {"what": what, "model": model, "engine": engine, "threads": threads, "neighbours": beside, "load": load}
    if done.returncode:
        logger.warning("%s %s %s failed: %s", what, model, engine, done.stderr.strip().splitlines()[-1:])
        return {**about, "failed": done.returncode}
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row | about | {"git": git_commit(), "when": datetime.now(UTC).isoformat(timespec="seconds")}


def collect(args: argparse.Namespace) -> list[Row]:
    """All measurements, one after the other."""
    jobs = [("nowcast", model, "streamed", model in args.beside) for model in args.models]
    jobs += [("nowcast", model, "edges", False) for model in args.against]
    jobs += [("train", model, engine, engine == "streamed") for model in args.train for engine in ("streamed", "edges")]
    jobs += [("wrapper", model, "streamed", True) for model in args.wrapper]
    cores = os.cpu_count() or 1
    ways = [(args.threads, 0), (args.threads, cores), (1, 0), (1, cores)]
    return [measure(*job, args, *way) for *job, all_ways in jobs for way in (ways if all_ways else ways[:1])]


def key(row: Row) -> tuple[str, str, str, int, int]:
    """What a row measures."""
    return row["what"], row["model"], row["engine"], row.get("threads", 2), row.get("neighbours", 0)


def merged(old: list[Row], new: list[Row]) -> list[Row]:
    """Rows of an earlier run, those measured again in their new form.

    >>> merged([{"what": "nowcast", "model": "a", "engine": "edges"}], [])
    [{'what': 'nowcast', 'model': 'a', 'engine': 'edges'}]
    """
    return list({key(row): row for row in [*old, *new]}.values())


def table(rows: list[Row]) -> str:
    """The measurements as Markdown."""
    lines = [
        "| what | model | engine | threads | busy neighbours | parameters | seconds | ns a parameter | "
        "peak above model and states, MB | peak in all, MB | LPE, s | share of plain products |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        what, model, engine, threads, beside = key(row)
        head = f"| {what} | {model} | {engine} | {threads} | {beside} |"
        if "failed" in row:
            lines.append(f"{head} failed (exit code {row['failed']}: negative for a signal, -9 out of memory) |||||||")
            continue
        took = median(row["seconds"])
        total = f"{row['peak_bytes'] / 1e6:.0f}" if "peak_bytes" in row else ""
        above = f"{row['peak_above_bytes'] / 1e6:.0f}" if "peak_above_bytes" in row else ""
        lpe = f"{row['lpe_seconds']:.2f}" if "lpe_seconds" in row else ""
        quiet = engine == "streamed" and "share_of_plain_products" in row and not beside
        share = f"{row['share_of_plain_products']:.2f}" if quiet else ""
        lines.append(
            f"{head} {row['parameters']:,} | {took:.3g} | {took / row['parameters'] * 1e9:.0f} | "
            f"{above} | {total} | {lpe} | {share} |"
        )
    return "\n".join(lines) + "\n\n" + "\n".join([*ratios(rows), *shared_cores(rows), RELEASED]) + "\n"


def ratios(rows: list[Row]) -> list[str]:
    """Streamed against the edge list, where both were measured."""
    done = {key(row): row for row in rows if "failed" not in row}
    lines = []
    for (what, model, engine, *way), edges in done.items():
        if engine == "edges" and (streamed := done.get((what, model, "streamed", *way))):
            faster = median(edges["seconds"]) / median(streamed["seconds"])
            less = edges["peak_above_bytes"] / max(streamed["peak_above_bytes"], 1)
            lines.append(f"- {what} {model}: {faster:.1f} times faster than the edge list, 1/{less:.1f} of its memory")
    return lines


def shared_cores(rows: list[Row]) -> list[str]:
    """What busy neighbours and a second thread change, as ratios of medians; of a wrapper, a save's seconds, too."""
    took = {key(row): median(row["seconds"]) for row in rows if "failed" not in row}
    lines = []
    for row in rows:
        what, model, engine, threads, beside = key(row)
        others = [(threads, 0), (1, 0), (1, beside)]
        if not beside or threads == 1 or not all((what, model, engine, *way) in took for way in others):
            continue
        busy, (quiet, one, one_busy) = took[key(row)], (took[what, model, engine, *way] for way in others)
        lines.append(
            f"- {what} {model} beside {beside} busy processes: {busy / quiet:.2f} times the quiet time with {threads} "
            f"threads, {one_busy / one:.2f} times with one; {threads} threads are {one / quiet:.2f} times as fast as "
            f"one quiet, {one_busy / busy:.2f} times busy"
        )
    for row in rows:
        if "save_seconds" in row:
            *_, threads, beside = key(row)
            save = median(row["save_seconds"]) - median(row["plain_seconds"])
            lines.append(
                f"- {row['model']}, {threads} threads beside {beside} busy processes: saving a state takes "
                f"{1e3 * save:.1f} ms, the step of a nowcast {median(row['seconds']):.2f} s"
            )
    return lines


def draw(rows: list[Row], folder: Path) -> None:
    """Cost a parameter over model size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    most = max(row["threads"] for row in rows)
    done = [r for r in rows if key(r)[::2] == ("nowcast", "streamed", 0) and r["threads"] == most and "failed" not in r]
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
    parser.add_argument("--beside", nargs="*", default=MODELS[:3], help="models beside busy neighbours, too")
    parser.add_argument("--train", nargs="*", default=("fm-16", "gpt2-3-24"))
    parser.add_argument("--wrapper", nargs="*", default=("gpt2-3-64",), help="models whose saves and steps are timed")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="one of nino.device.device_names()")
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
