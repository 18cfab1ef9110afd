"""Run the campaign: ``python -m benchmarks.chaos``, or ``make chaos``; prints counts and writes them as a table.

Every trial ends in the bytes of the run that nothing disturbed, or in one clear line; anything else is listed below the
table, with its seed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos import faults, kills
from benchmarks.chaos.whole import STAGES, Whole
from nino.files import write_text
from nino.markdown import table

Trial = Callable[[Whole, Path, random.Random, str], str]
GOOD = (kills.SAME, kills.LINE, "skipped and counted")
EVALUATIONS = ("evaluate base", "evaluate nino")
WRITTEN_LONG = ("collect 0", "metatrain", "evaluate nino")


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Args:
        name: for the table.
        trial: makes one.
        stages: that it is tried on, in turn.
        count: of trials in a whole campaign.
    """

    name: str
    trial: Trial
    stages: tuple[str, ...]
    count: int


KINDS = (
    Kind("SIGKILL between checkpoints of meta-training", kills.killed, ("metatrain",), 50),
    Kind("SIGKILL between checkpoints of an evaluation", kills.killed, EVALUATIONS, 50),
    Kind(
        "SIGKILL during collection, join, tables and figures",
        kills.killed,
        ("collect 0", "join", "tables", "figures"),
        20,
    ),
    Kind("two at once on one output", kills.two_at_once, WRITTEN_LONG, 9),
    Kind("a killed driver whose job runs on", kills.killed_driver, ("evaluate base",), 2),
    Kind("a full disk", faults.full_disk, tuple(STAGES), len(STAGES)),
    Kind("results that may not be written", faults.read_only, tuple(STAGES), len(STAGES)),
    Kind("caches that may not be written", faults.read_only_cache, ("data",), 4),
    Kind("a clock that jumps, and a kill", faults.jumping_clock, WRITTEN_LONG, 12),
    Kind("a foreign shard", faults.foreign_shard, ("join", "metatrain"), 8),
    Kind("damage in the middle checkpoint", faults.damaged_checkpoint, ("metatrain", *EVALUATIONS), 30),
    Kind("damage in what a stage reads", faults.damaged_input, tuple(faults.INPUTS), 30),
    Kind("NaN inside meta-training", faults.nan_batches, ("metatrain",), 6),
    Kind("archives with paths that climb out", faults.climbing_archive, ("data",), 6),
)


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the trials of a whole campaign")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments and places")
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    parser.add_argument("--out", type=Path, help="file of the table (Markdown)")
    asked = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nino-chaos-") as temporary:
        folder = Path(temporary)
        (folder / "whole").mkdir()
        whole = Whole(folder / "whole")
        print(f"undisturbed: {', '.join(f'{name} {seconds:.1f} s' for name, seconds in whole.seconds.items())}")
        counts, wrong = campaign(whole, folder, [k for k in KINDS if asked.only in k.name], asked.share, asked.seed)
    minutes = (time.monotonic() - begun) / 60
    text = report(counts, wrong, f"`python -m benchmarks.chaos --share {asked.share} --seed {asked.seed}`", minutes)
    print(text)
    if asked.out is not None:
        write_text(asked.out, text)
    sys.exit(1 if wrong else 0)


def campaign(
    whole: Whole, folder: Path, kinds: list[Kind], share: float, seed: int
) -> tuple[dict[str, Counter[str]], list[str]]:
    """Make the trials of each kind; counts of verdicts by kind, and a line for each that is wrong."""
    counts: dict[str, Counter[str]] = {}
    wrong: list[str] = []
    for kind in kinds:
        counts[kind.name] = Counter()
        for number in range(max(1, round(kind.count * share))):
            place = folder / "trial"
            stage = kind.stages[number % len(kind.stages)]
            said = kind.trial(whole, place, random.Random(f"{seed} {kind.name} {number}"), stage)
            for each in folder.glob("trial*"):
                shutil.rmtree(each, ignore_errors=True)
            known = said in (*GOOD, faults.NOT_HERE)
            counts[kind.name][said if known else "wrong"] += 1
            if not known:
                wrong.append(f"{kind.name}, {stage}, trial {number}: {' '.join(said.split())}")
        print(f"{kind.name}: {dict(counts[kind.name])}", flush=True)
    return counts, wrong


def report(counts: dict[str, Counter[str]], wrong: list[str], command: str, minutes: float) -> str:
    """The counts as a table, and what went wrong."""
    columns = (*GOOD, faults.NOT_HERE, "wrong")
    rows = [(name, sum(found.values()), *(found[column] for column in columns)) for name, found in counts.items()]
    listed = [f"- {line}" for line in wrong] or ["Nothing went wrong."]
    head = f"Faults injected into real commands: {command}, {minutes:.0f} minutes."
    return "\n".join([head, "", table(("fault", "trials", *columns), rows), "", *listed, ""])


if __name__ == "__main__":
    main()
