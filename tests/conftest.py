"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
from jaxtyping import config, install_import_hook

from tests.typechecker import check_signatures_with_tensors

# A core a test process: threads of several processes on the same cores wait for each other, many times longer than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shapes and types in signatures are checked here, and only here: see docs/shapes.md.
CHECKED = ["nino.graphs", "nino.nowcasters", "nino.offline", "nino.optim"]
jaxtyping.jaxtyped = check_signatures_with_tensors  # what the hook writes before each function
install_import_hook(CHECKED, "tests.typechecker.check")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No annotation is checked: for tests of what a user meets who passes something else, or draws random numbers."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference data: below ``NINO_SHARED``, or ``../shared`` beside the checkout; skips where there is none."""
    folder = Path(os.environ.get("NINO_SHARED", REPOSITORY.parent / "shared")) / "reference"
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}: set NINO_SHARED to the folder that holds reference/")
    return folder
