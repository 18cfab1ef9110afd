"""docs/recipes.md, block by block: the files are written, the commands run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs.guide import ROOT, commands, lay_out, nino, read
from tests.workflow import preloaded

GUIDE = read("recipes.md")
COMMANDS = commands(GUIDE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the guide's files and the complete config."""
    lay_out(GUIDE, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run(folder: Path) -> None:
    said = [nino(*arguments) for program, *arguments in COMMANDS if program == "nino"]
    kept = [text for text in said if "keeps the contract of" in text]
    assert len(kept) == 3 and "my_optimizer.py:Sign: keeps the contract of an optimizer" in kept[0]
    assert (folder / "results/mine/evaluate/digits-8/schedule-free/seed=1000/run.json").is_file()
    nino("evaluate", "--config", "mine.yaml", "--task", "digits-8", "--method", "linear-on-sign", "--seed", "1000")
    record = folder / "results/mine/evaluate/digits-8/linear-on-sign/seed=1000/run.json"
    assert '"method.recipe.optimizer": {' in record.read_text() and '"path": "my_optimizer.py"' in record.read_text()
    first = record.stat().st_mtime_ns
    one = ("evaluate", "--config", "mine.yaml", "--task", "digits-8", "--method", "linear-on-sign", "--seed", "1000")
    nino(*one)
    assert record.stat().st_mtime_ns == first, "finished: left as it is"
    source = folder / "my_optimizer.py"
    source.write_text(source.read_text().replace("1 - group", "1.0 - group"))
    nino(*one)
    assert record.stat().st_mtime_ns > first, "another file is another job"


@pytest.mark.xdist_group("workflow")
def test_the_workflow_plans_the_guides_rows(folder: Path) -> None:
    command = next(arguments for program, *arguments in COMMANDS if program == "snakemake")
    code, said = preloaded.call(
        "snakemake", [*command, "-n", "--snakefile", str(ROOT / "Snakefile")], folder, dict(os.environ)
    )
    assert code == 0 and "evaluation: digits-8, linear-on-sign, seed 2000" in said, said
