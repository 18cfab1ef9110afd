"""The runs whose logs are committed: their tables are what the logs give."""

from __future__ import annotations

from pathlib import Path

import pytest

from nino.release.releases import verify

RESULTS = Path(__file__).parents[2] / "results"
RUNS = sorted(path.parent.name for path in RESULTS.glob("*/manifest.json") if (path.parent / "evaluate").exists())


@pytest.mark.parametrize("run", RUNS)
def test_committed_tables_are_built_again_from_their_logs(run: str) -> None:
    assert verify(RESULTS / run) == []


def test_there_are_such_runs() -> None:
    assert {"cpu", "smoke-v1"} <= set(RUNS)
