"""The run that nothing disturbs, copies of it up to a stage, and whether another one ended with the same."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.chaos.commands import preload, run

ROOT = Path(__file__).resolve().parents[2]
OVERLAY = """
tasks: {digits-2: {recipe: {steps: 120}}}
trajectories: {digits-2: {models: 3, models_per_shard: 2, state_every: 2}}
metatrain: {recipe: {iterations: 60, validate_every: 15, checkpoint_every: 10}}
evaluate: {seeds: [1000], rows: [base, nino]}
"""
CONFIG = ("--config", "tiny.yaml", "--config", "chaos.yaml")
TASK = ("--task", "digits-2")
RESULTS = Path("results", "tiny")
TIMES = ("seconds", "windows_per_second")


@dataclass(frozen=True)
class Stage:
    """A command of the run.

    Args:
        arguments: of ``nino``.
        outputs: what it writes, below the run's folder.
    """

    arguments: tuple[object, ...]
    outputs: tuple[str, ...]


def _evaluate(method: str) -> Stage:
    arguments = ("evaluate", "--seed", 1000, *CONFIG, *TASK, "--method", method)
    return Stage(arguments, (f"evaluate/digits-2/{method}/seed=1000",))


DATASET = "trajectories/digits-2.h5"
FIT = "metatrain/nino"
STAGES = {
    "data": Stage(("data", *CONFIG, *TASK), ("data/digits-2.json",)),
    "collect 0": Stage(("collect", "--shard", 0, *CONFIG, *TASK), ("trajectories/digits-2/shard=0.h5",)),
    "collect 1": Stage(("collect", "--shard", 1, *CONFIG, *TASK), ("trajectories/digits-2/shard=1.h5",)),
    "join": Stage(("join", *CONFIG, *TASK), (DATASET,)),
    "datasheet": Stage(("datasheet", RESULTS / DATASET), ("trajectories/digits-2.md",)),
    "metatrain": Stage(("metatrain", *CONFIG, "--nowcaster", "nino"), (FIT,)),
    "card": Stage(("card", RESULTS / FIT / "best.safetensors"), (f"{FIT}/README.md",)),
    "evaluate base": _evaluate("base"),
    "evaluate nino": _evaluate("nino"),
    "tables": Stage(("tables", *CONFIG), ("tables",)),
    "figures": Stage(("figures", *CONFIG), ("figures",)),
    "manifest": Stage(("manifest", *CONFIG), ("manifest.json",)),
}


class Whole:
    """The undisturbed run.

    Args:
        folder: empty; the run is made in it.
    """

    def __init__(self, folder: Path) -> None:
        """Make it, stage by stage."""
        preload()
        self.folder = folder
        self.seconds: dict[str, float] = {}
        shutil.copy(ROOT / "config.yaml", folder / "config.yaml")
        shutil.copy(ROOT / "tests" / "workflow" / "tiny.yaml", folder / "tiny.yaml")
        (folder / "chaos.yaml").write_text(OVERLAY)
        for name, stage in STAGES.items():
            ended = run(folder, *stage.arguments, lie=often)
            if ended.code:
                raise RuntimeError(f"the undisturbed run fails at {name}: {ended.text[-2000:]}")
            self.seconds[name] = ended.seconds

    def before(self, stage: str, folder: Path) -> Path:
        """A copy of the run in a new folder, as it was before a stage."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("said-*"))
        names = list(STAGES)
        for name in names[names.index(stage) :]:
            for output in STAGES[name].outputs:
                path = folder / RESULTS / output
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return folder

    def difference(self, stage: str, folder: Path) -> str | None:
        """The first file of a stage's output that is not the undisturbed run's, times aside; None if all are."""
        for output in STAGES[stage].outputs:
            ours, theirs = (files(each / RESULTS / output) for each in (self.folder, folder))
            if stage == "metatrain":  # the model card comes from a later stage
                ours.pop("README.md", None)
                theirs.pop("README.md", None)
            for name in sorted(ours.keys() | theirs.keys()):
                if name not in ours or name not in theirs:
                    return f"{output}/{name} {'is left over' if name in theirs else 'is missing'}"
                if content(ours[name]) != content(theirs[name]):
                    return f"{output}/{name} has other content"
        return None


def files(path: Path) -> dict[str, Path]:
    """A file, or all files below a folder, by their names in it."""
    if path.is_file():
        return {path.name: path}
    return {each.relative_to(path).as_posix(): each for each in path.rglob("*") if each.is_file()}


def content(path: Path) -> Any:
    """What a file says, without what no two runs share: times, memory and where the numbers were made."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return [{k: v for k, v in row.items() if not k.endswith(TIMES)} for row in csv.DictReader(file)]
    if path.name == "run.json":
        values = json.loads(path.read_text(encoding="utf-8"))
        left = ("peak_memory_bytes", "provenance", "share_of_others", "files")
        rows = {name: file["rows"] for name, file in values["files"].items()}  # digests cover seconds, too
        return rows, {key: value for key, value in values.items() if "seconds" not in key and key not in left}
    if path.name == "manifest.json":
        return sorted(json.loads(path.read_text(encoding="utf-8")))
    return path.read_bytes()


def often() -> None:
    """Let evaluations write a checkpoint every 50 ms, not every minute: a small run has some, and moments between."""
    import nino.evaluate.run

    nino.evaluate.run.evaluate_runs = partial(nino.evaluate.run.evaluate_runs, checkpoint_seconds=0.05)


def all_of(*lies: Any) -> Any:
    """Several lies told one after the other."""
    return lambda: [lie() for lie in lies]


def part_files(folder: Path) -> Iterable[Path]:
    """What killed commands left half-written."""
    return (path for path in folder.rglob(".*") if path.name.endswith((".part", ".lease")))
