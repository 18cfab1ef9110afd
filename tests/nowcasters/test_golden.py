"""Predictions of the released implementation, by both engines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nino.nowcasters import NiNoNet, WNNPlus, load_nowcaster

TOLERANCE = 1e-4  # of the largest update


def error(prediction: Tensor, wanted: Tensor, last: Tensor) -> float:
    return float((prediction - wanted).abs().max() / (wanted - last).abs().max())


def nets(case, shared: Path | None) -> tuple[NiNoNet, WNNPlus]:
    if shared is not None:
        folder = shared / "pretrained"
        return load_nowcaster(folder / "nino_no_posw.pt"), load_nowcaster(folder / "nino_mlp.pt")
    nino, mlp = NiNoNet(hidden=8), WNNPlus(hidden=8)
    nino.load_state_dict(case.weights("nino"))
    mlp.load_state_dict(case.weights("mlp"))
    return nino, mlp


def check_edges(case, nino: NiNoNet) -> None:
    states = case.tensor("states")
    for k in case.horizons:
        found = nino.predict(case.as_graph(), states, k, lpe=case.tensor("pos"), engine="edges")
        assert error(found, case.tensor(f"pred_nino_k{k}"), states[:, -1]) < TOLERANCE


def check_streamed(case, nino: NiNoNet, mlp: WNNPlus) -> None:
    states, graph = case.tensor("states"), case.graph()
    lpe = case.lpe(graph)
    for k in case.horizons:
        wanted = case.tensor(f"pred_nino_k{k}")
        for engine in ("streamed", "edges"):
            found = nino.predict(graph, states, k, lpe=lpe, engine=engine)
            assert error(found, wanted, states[:, -1]) < TOLERANCE, engine
        found = mlp.predict(graph, states, k)
        assert error(found, case.tensor(f"pred_mlp_k{k}"), states[:, -1]) < TOLERANCE


def test_tiny_by_the_golden_edge_list(tiny) -> None:
    check_edges(tiny, nets(tiny, None)[0])


def test_tiny_by_our_graph(tiny) -> None:
    check_streamed(tiny, *nets(tiny, None))


@pytest.mark.shared
def test_released_by_the_golden_edge_list(golden, shared: Path) -> None:
    check_edges(golden, nets(golden, shared)[0])


@pytest.mark.shared
def test_released_by_our_graph(golden, shared: Path) -> None:
    check_streamed(golden, *nets(golden, shared))


@pytest.mark.shared
def test_scales_equal_the_released_ones(golden) -> None:
    from nino.nowcasters.scaling import measure
    from nino.nowcasters.states import TensorStates
    from nino.threads import Workers

    scales = measure(TensorStates(golden.tensor("states")), golden.parameters, "tensor", Workers(1))
    torch.testing.assert_close(torch.tensor([s.mean for s in scales]), golden.tensor("scale_mean"))
    torch.testing.assert_close(torch.tensor([s.std for s in scales]), golden.tensor("scale_std"))
