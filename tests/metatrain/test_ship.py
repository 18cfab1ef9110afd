"""Fitted weights into the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nino.files import sha256
from nino.metatrain import metatrain
from nino.metatrain.ship import ship
from nino.nowcasters import load_nowcaster
from nino.specs import MetatrainSpec
from tests.metatrain.conftest import Source


def test_shipped_weights_are_the_fits_rounded_with_its_card(
    digits: Source, recipe: MetatrainSpec, tmp_path: Path
) -> None:
    metatrain(replace(recipe, iterations=2), {"digits-4": digits}, tmp_path / "fit", progress=False)
    fit = tmp_path / "fit" / "last.safetensors"
    out = ship(fit, "nino-7", tmp_path)
    ours, theirs = load_nowcaster(out).state_dict(), load_nowcaster(fit).state_dict()
    assert all(torch.equal(ours[name], tensor.half().float()) for name, tensor in theirs.items())
    assert out.stat().st_size < 0.6 * fit.stat().st_size
    card = (tmp_path / "nino-7.md").read_text()
    assert "# nino-7: NiNo fitted to digits-4" in card and sha256(out) in card and '"nino-7", model' in card
    with pytest.raises(FileExistsError, match="take the next number"):
        ship(fit, "nino-7", tmp_path)
