"""What git keeps of runs are releases: no run writes to them, and their tables are what their logs give."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nino.config import load
from nino.release.releases import verify

RESULTS = Path(__file__).parents[2] / "results"
RUNS = sorted(path.parent.name for path in RESULTS.glob("*-v*/RELEASE.json"))


@pytest.mark.parametrize("run", RUNS)
def test_committed_tables_are_built_again_from_their_logs(run: str) -> None:
    assert verify(RESULTS / run) == []


def test_there_are_such_runs() -> None:
    assert {"cpu-v1", "overhead-cpu-v1", "permutation-v1", "smoke-v1"} <= set(RUNS)


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", "-C", str(RESULTS), *arguments], capture_output=True, text=True)
    if done.returncode == 128:
        pytest.skip("not a checkout")
    return done.stdout.splitlines()


def test_git_keeps_nothing_that_a_run_writes() -> None:
    places = {line.split("/")[0] for line in git("ls-files")}
    assert places - {"leaderboard.csv", "leaderboard.html", "leaderboard.md"} == set(RUNS)


@pytest.mark.parametrize(
    "config", sorted((RESULTS.parent / "workflow" / "configs").rglob("*.yaml")), ids=lambda p: p.stem
)
def test_git_ignores_what_a_run_writes(config: Path) -> None:
    run = load([config])["run"]
    assert git(
        "check-ignore", f"{run}/tables/table2.md", f"{run}/evaluate/a/b/seed=1/run.json", f"{run}/manifest.json"
    )[2:]
