"""A tiny run."""

from __future__ import annotations

from pathlib import Path

import pytest

from nino.config.experiment import Experiment
from nino.config.load import load
from nino.config.resolve import resolve
from nino.tasks import DataSizes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """The workflow tests' run, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return resolve(load([ROOT / "tests" / "workflow" / "tiny.yaml"], ROOT / "config.yaml"))


@pytest.fixture
def digits() -> DataSizes:
    return DataSizes("vision", (1, 8, 8), 10, {"train": 1079, "validation": 180, "test": 538}, "the data")


@pytest.fixture
def words() -> DataSizes:
    return DataSizes("language", (16,), 256, {"train": 900, "validation": 50, "test": 70}, "the data")
