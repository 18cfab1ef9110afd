"""docs/own-model.md, block by block: the files are written, the commands run, slips named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nino.config.load import load
from nino.config.resolve import resolve
from tests.docs.guide import commands, lay_out, nino, read

GUIDE = read("own-model.md")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the guide's files and the complete config."""
    lay_out(GUIDE, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run(folder: Path) -> None:
    """All but snakemake's, which tests/workflow/test_own_model.py runs."""
    said = [nino(*arguments) for program, *arguments in commands(GUIDE) if program == "nino"]
    assert [text.count("keeps the contract") for text in said] == [1, 1, 2, 0]
    assert "100.0% of 754 parameters on edges, 0 of 6 tensors carried" in said[0]
    assert "tasks.digits-shortcut.target.metric (=my_metric.py:f1): keeps the contract of a metric" in said[2]


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("my_model.py:make", "my_model.py:mke", "tasks.digits-shortcut.model.name (=my_model.py:mke): my_model.py"),
        ("my_model.py:make", "model.py:make", "there is no file model.py"),
        ("{width: 8}", "{widht: 8}", "make takes no argument 'widht'; did you mean 'width'?"),
        ("my_model.py:make", "convnett", "did you mean 'convnet'?"),
        ("my_metric.py:f1", "my_metric.py:f2", "my_metric.py defines no f2; allowed: f1"),
        ("better: higher, ", "", "target.better: missing; say which values of my_metric.py:f1 are better"),
        (
            '"my_metric.py:f1"',
            "accuracy",
            "target.better (=higher): of accuracy, higher is better; leave it out",
        ),
        ('"my_metric.py:f1", better: higher', "perplexity", "(=perplexity) measures no vision data; use accuracy"),
        ('"my_metric.py:f1", better: higher', "mse", "(=mse) measures no vision data; use accuracy"),
        ("test_every: 5", "test_every: 5, hardest_first: true", "hardest_first: rules out targets of accuracy alone"),
        (
            '"my_model.py:make", options: {width: 8}',
            "timm",
            "model.options.model: missing; name one of the models of timm",
        ),
    ],
)
def test_slips_are_named_before_anything_runs(folder: Path, was: str, now: str, says: str) -> None:
    overlay = folder / "mine.yaml"
    text = overlay.read_text(encoding="utf-8")
    assert was in text
    overlay.write_text(text.replace(was, now), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(says)):
        resolve(load([overlay]))
