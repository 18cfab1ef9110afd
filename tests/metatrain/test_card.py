"""The model card: made from a fit's files, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from nino.metatrain import metatrain
from nino.metatrain.card import model_card
from nino.nowcasters import build_nowcaster, load_nowcaster, save_nowcaster
from nino.specs import MetatrainSpec
from tests.metatrain.conftest import Source

SPEC = MetatrainSpec(
    kind="nino", iterations=4, model={"hidden": 8}, window_stride=4, validate_every=2, checkpoint_every=4
)


@pytest.fixture(scope="module")
def fit(digits: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    metatrain(SPEC, {"digits-4": digits}, folder, progress=False)
    return folder


def test_a_card_says_what_the_fit_left(fit: Path) -> None:
    for name in ("best", "last"):
        path = fit / f"{name}.safetensors"
        text, net = model_card(path), load_nowcaster(path)
        assert text == model_card(path)
        _, front, body = text.split("---\n", 2)
        assert yaml.safe_load(front) == {
            "library_name": "nino",
            "tags": ["weight-nowcasting", "nino"],
        }
        assert "# NiNo fitted to digits-4" in body
        assert f"| parameters | {sum(p.numel() for p in net.parameters()):,} |" in body
        assert "| reads | 5 states, 4 steps apart |" in body and "| digits-4 | 5 | 1 |" in body
        assert f'"{name}.safetensors", model' in body


def test_the_validation_is_that_of_the_weights_iteration(fit: Path) -> None:
    rows = pd.read_csv(fit / "validation.csv")
    last = rows[rows.iteration == 4].iloc[0]
    less = 100 * (1 - last.loss / last.identity_loss)
    assert f"| digits-4 | {last.loss:.4f} | {last.identity_loss:.4f} | {less:.1f} |" in model_card(
        fit / "last.safetensors"
    )


def test_files_that_are_not_of_a_fit_are_named(fit: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors"):
        model_card(tmp_path / "gone.safetensors")
    plain = tmp_path / "plain.safetensors"
    save_nowcaster(build_nowcaster("nino", hidden=8), plain)
    with pytest.raises(ValueError, match=r"plain\.safetensors is not of a fit: its metadata lacks 'iteration'"):
        model_card(plain)
    alone = tmp_path / "best.safetensors"
    alone.write_bytes((fit / "best.safetensors").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"validation\.csv: a fit leaves it beside its weights"):
        model_card(alone)
