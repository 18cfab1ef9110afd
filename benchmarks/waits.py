"""Where people wait: seconds of the commands that are typed often, quiet and beside a busy process a core.

    python -m benchmarks.waits                                       # ten minutes
    python -m benchmarks.waits --commands "make smoke" "make test"   # an hour

Seconds are medians by the wall clock; ``work`` is the processors' time of a command and all that it starts, in units of
a plain ``import torch``, which neither the machine's speed nor its load changes much. Each has a bound: tests hold the
short commands to it, and a measurement beyond it ends with an error. Writes ``waits.json`` and ``waits.md``, where
commands that were not measured keep their rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from time import perf_counter
from typing import Any

import torch
import yaml

from benchmarks.core import neighbours
from nino.files import write_json, write_text
from nino.provenance import provenance

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
UNIT = (sys.executable, "-c", "import torch")
MODEL = "import torch\n\ndef build():\n    return torch.nn.Sequential(torch.nn.Linear(9, 7), torch.nn.Linear(7, 3))\n"
NINO = (sys.executable, "-m", "nino")
COMMANDS: dict[str, tuple[tuple[str, ...], float]] = {
    "import nino": ((sys.executable, "-c", "import nino"), 0.3),
    "nino --help": ((*NINO, "--help"), 1.0),
    "nino step": ((*NINO, "step", ".", "--nowcaster", "linear", "--k", "5", "--model", "model:build"), 4.0),
    "snakemake -n": ((sys.executable, "-m", "snakemake", "-n", "-s", str(ROOT / "Snakefile"), "--cores", "1"), 12.0),
}
"""Commands that run in a folder of `prepare`, and the most work that each may be, in units of ``import torch``."""
WHOLE: dict[str, tuple[tuple[str, ...], float]] = {
    "make smoke": ((sys.executable, "workflow/smoke.py"), 600.0),
    "make test": (("make", "test"), 1500.0),
}
"""Commands that run in the repository's root; a smoke run begins with nothing, in a results folder of its own."""


def prepare(folder: Path) -> dict[str, str]:
    """Put five checkpoints of a small model where ``nino step`` finds them; the environment to run commands in."""
    (folder / "model.py").write_text(MODEL, encoding="utf-8")
    state = torch.nn.Sequential(torch.nn.Linear(9, 7), torch.nn.Linear(7, 3)).state_dict()
    for step in range(100, 600, 100):
        torch.save({name: (1 + step / 1000) * value for name, value in state.items()}, folder / f"step_{step}.pt")
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}


def spent(command: tuple[str, ...], folder: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of a command by the wall clock, and of the processors, its children's included.

    Raises:
        RuntimeError: if it fails; with the end of what it said.
    """
    before, begin = getrusage(RUSAGE_CHILDREN), perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds, after = perf_counter() - begin, getrusage(RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-1000:]}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(name: str, folder: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of one of the commands, as in `spent`."""
    if name == "make smoke":
        return smoke(folder)
    if name in WHOLE:
        return spent(WHOLE[name][0], ROOT, dict(os.environ))
    for made in (folder / "nowcast").glob("*"):
        made.unlink()
    return spent(COMMANDS[name][0], folder, environment)


def smoke(folder: Path) -> tuple[float, float]:
    """A whole smoke run, whose results are removed again; as in `spent`."""
    results = ROOT / "results" / f"waits-{os.getpid()}"
    config = yaml.safe_load((ROOT / "workflow" / "configs" / "smoke.yaml").read_text(encoding="utf-8"))
    write_text(folder / "smoke.yaml", yaml.safe_dump({**config, "run": results.name}))
    try:
        return spent((*WHOLE["make smoke"][0], str(folder / "smoke.yaml"), str(os.cpu_count())), ROOT, dict(os.environ))
    finally:
        shutil.rmtree(results, ignore_errors=True)


def measure(name: str, folder: Path, environment: dict[str, str], repeats: int, beside: int) -> dict[str, Any]:
    """Medians of a command and, in turns with it, of ``import torch``."""
    units, times = [], []
    with neighbours(beside):
        for _ in range(1 if name in WHOLE else repeats):
            units.append(spent(UNIT, folder, environment)[1])
            times.append(run(name, folder, environment))
    seconds, work = (median(values) for values in zip(*times, strict=True))
    bound = {**COMMANDS, **WHOLE}[name][1]
    about = {"command": name, "neighbours": beside, "seconds": seconds, "unit": median(units)}
    return about | {"work": work / median(units), "bound": bound}


def table(rows: list[dict[str, Any]]) -> str:
    """The measurements as Markdown."""
    lines = [
        "| command | busy neighbours | seconds | work, in units of `import torch` | bound |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{r['command']}` | {r['neighbours']} | {r['seconds']:.2f} | {r['work']:.2f} | {r['bound']:g} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of earlier measurements, so that commands that are measured later join them; none where there is no file."""
    if not path.exists():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    return [
        {"about": content.get("about"), **row} for row in content["rows"] if row["command"] in {**COMMANDS, **WHOLE}
    ]


def main() -> None:
    """Measure, write, and say which bounds do not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", nargs="*", choices=(*COMMANDS, *WHOLE), default=tuple(COMMANDS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quiet-only", action="store_true", help="not beside busy neighbours")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    places = [0] if args.quiet_only else [0, os.cpu_count() or 1]
    with tempfile.TemporaryDirectory() as folder:
        environment = prepare(Path(folder))
        rows = [
            measure(name, Path(folder), environment, args.repeats, beside)
            for name in args.commands
            for beside in places
        ]
    about = provenance(
        command=f"python -m benchmarks.waits --commands {shlex.join(args.commands)}", load=os.getloadavg()
    )
    path, measured = args.out / "waits.json", [row | {"about": about} for row in rows]
    kept = [row for row in read_rows(path) if row["command"] not in args.commands]
    order = [*COMMANDS, *WHOLE]
    everything = sorted([*kept, *measured], key=lambda row: (order.index(row["command"]), row["neighbours"]))
    write_json(path, {"rows": everything})
    write_text(args.out / "waits.md", table(everything))
    print(table(rows))
    if beyond := [row["command"] for row in rows if row["work"] > row["bound"]]:
        sys.exit(f"more work than their bounds allow: {', '.join(beyond)}")


if __name__ == "__main__":
    main()
