"""Small networks whose graphs only a recording of their forward gives."""

from __future__ import annotations

import pytest

from nino.tasks.torchvision_ops import declare_missing_operators


@pytest.fixture(autouse=True, scope="session")
def torchvision_operators() -> None:
    """Let transformers and torchvision be imported."""
    declare_missing_operators()
