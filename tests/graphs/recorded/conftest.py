"""Small networks whose graphs only a recording of their forward gives."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch

from nino.graphs import NeuralGraph
from nino.graphs.recorded import record
from nino.graphs.windows import window
from nino.tasks.torchvision_ops import declare_missing_operators


@pytest.fixture(autouse=True, scope="session")
def torchvision_operators() -> None:
    """Let transformers and torchvision be imported."""
    declare_missing_operators()


@pytest.fixture(autouse=True)
def no_shape_is_wrong(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that no rule is passed what its annotations do not allow: the recorder would take it for unknown."""
    with caplog.at_level(logging.INFO, "nino.graphs"):
        yield
    assert not [record.message for record in caplog.get_records("call") if "TypeCheckError" in record.message]


@pytest.fixture(autouse=True)
def every_weight_on_one_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check of every graph that is recorded: each weight has one place on one edge, a carried one none."""

    def checked(*args: object) -> NeuralGraph:
        graph: NeuralGraph = assemble(*args)
        places = places_of(graph)
        for p in graph.parameters:
            expected = 0 if p.name in graph.carried else 1
            assert (places[p.slice] == expected).all(), f"{p.name}: weights on several edges, or on none"
        return graph

    assemble = record.assemble
    monkeypatch.setattr(record, "assemble", checked)


def places_of(graph: NeuralGraph) -> torch.Tensor:
    """How many places on edges each weight has."""
    places = torch.zeros(graph.num_parameters, 1, dtype=torch.int16)
    for block in graph.blocks:
        if block.weight is not None:
            window(places, block).add_(1)
    return places[:, 0]
