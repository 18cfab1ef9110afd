"""docs/ten-minutes.md, block by block: the files are written, the commands run, the rows looked for."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from nino.workflow.workspace import lay_out
from tests.docs.guide import commands, nino, read, write_files
from tests.workflow import preloaded
from tests.workflow.driver import with_preloaded_jobs

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

GUIDE = read("ten-minutes.md")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", GUIDE, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace, where the guide's files are written."""
    place = tmp_path_factory.mktemp("guide")
    lay_out(place)
    return place


@pytest.fixture
def follow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Do what a section says, and give what its commands print."""
    monkeypatch.chdir(folder)

    def done(section: str, **environment: str) -> str:
        text = SECTIONS[section]
        write_files(text, folder)
        return "".join(_run(command, folder, environment) for command in commands(text))

    return done


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    program, *arguments = command
    if program == "python":
        subprocess.run([sys.executable, *arguments], cwd=folder, check=True)
        return ""
    if program == "nino":
        return nino(*arguments)
    code, said = preloaded.call(program, arguments, folder, with_preloaded_jobs() | environment)
    assert code == 0, said
    return said


def rows(folder: Path, run: str) -> pd.DataFrame:
    return pd.read_csv(folder / "results" / run / "tables" / "table2.csv").set_index("method")


def test_a_table_and_a_perceptron_become_rows(follow: Callable[..., str], folder: Path) -> None:
    said = follow("A table and a perceptron")
    assert "mine: 0 shards of trajectories (none), 0 nowcasters to fit (none), 4 evaluations" in said
    assert list(rows(folder, "mine").index) == ["base", "linear"]
    assert (rows(folder, "mine").seeds_reached == 2).all()
    assert (folder / "results" / "mine" / "tables" / "table2.md").is_file()


@pytest.mark.shared
def test_nino_is_one_more(follow: Callable[..., str], folder: Path, shared: Path) -> None:
    if not (folder / "results").is_dir():
        follow("A table and a perceptron")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    follow("NiNo", NINO_CACHE=str(shared / "pretrained"))
    assert set(rows(folder, "mine").index) == {"base", "linear", "nino-released"}
    assert before and {path: path.stat().st_mtime_ns for path in before} == before


def test_a_model_and_a_metric_of_ones_own_become_rows(follow: Callable[..., str], folder: Path) -> None:
    if not (folder / "cells.csv").is_file():
        follow("A table and a perceptron")
    follow("A model of your own")
    said = follow("A metric of your own")
    assert "keeps the contract of a model" in said and "keeps the contract of a metric" in said
    assert list(rows(folder, "own").index) == ["base", "linear"]
    assert (rows(folder, "own").seeds_reached == 2).all()
    assert "f1" in (folder / "results" / "own" / "tables" / "table1.md").read_text(encoding="utf-8")
