"""Fixtures of the optimizer's tests."""

from __future__ import annotations

import pytest

from tests.optim.helpers import Const, Line, Training, graph_without_edges, small_model


@pytest.fixture
def training():
    return Training


@pytest.fixture
def tools():
    """The helpers above, for tests that put them together in their own way."""

    class Tools:
        line, const, run = Line, Const, Training
        graph, model = staticmethod(graph_without_edges), staticmethod(small_model)

    return Tools
