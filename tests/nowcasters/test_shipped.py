"""Weights that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nino import NiNo
from nino.files import sha256
from nino.nowcasters import NiNoNet, load_nowcaster
from nino.nowcasters.shipped import SHIPPED, shipped


@pytest.mark.parametrize("name", SHIPPED)
def test_they_load_by_name_without_a_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("nothing is downloaded"))
    assert isinstance(load_nowcaster(name), NiNoNet)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_has_a_card_that_names_it(name: str) -> None:
    file = shipped(name)
    assert file.stat().st_size < 2.5e6
    card = file.with_suffix(".md").read_text()
    assert name in card and sha256(file) in card


def test_other_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHIPPED, "nino-1", "0" * 64)
    with pytest.raises(ValueError, match="nino-1.safetensors has SHA-256 .* install this package again"):
        load_nowcaster("nino-1")


def test_unknown_names_are_told_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match=r"known are nino-1, nino_no_posw"):
        load_nowcaster(Path("nino-0"))


def test_the_wrapper_takes_them_where_nothing_else_is_said() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    opt = NiNo(torch.optim.Adam(model.parameters(), lr=1e-2), model=model, period=10, max_train_steps=20)
    for _ in range(20):
        opt.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(8, 6)), torch.randint(3, (8,))).backward()
        opt.step()
    assert opt.counts == {"kept": 2, "put back": 0, "left out": 0}
    same = load_nowcaster("nino-1").state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in opt.nowcaster.state_dict().items())
