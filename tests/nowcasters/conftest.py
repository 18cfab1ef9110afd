"""Fixtures: the golden cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.nowcasters.helpers import DATA, RELEASED, TINY, Golden, golden_file


@pytest.fixture(params=TINY)
def tiny(request: pytest.FixtureRequest) -> Golden:
    """A golden case that brings its own nowcaster weights of hidden size 8."""
    with np.load(DATA / f"{request.param}.npz") as file:
        return Golden(request.param, {key: file[key] for key in file.files})


@pytest.fixture(params=RELEASED)
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    """A golden case of the released weights."""
    return golden_file(request.param, shared)
