"""docs/own-method.md, block by block: the files are written, the commands run, the rows looked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from nino.config.load import load
from nino.config.resolve import resolve
from nino.nowcasters.base import Nowcaster
from nino.report.figures import write_figures
from nino.specs import ReportSpec
from tests.docs.guide import ROOT, commands, lay_out, nino, read
from tests.workflow import preloaded

GUIDE = read("own-method.md")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the guide's files and the complete config."""
    lay_out(GUIDE, tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def test_the_commands_run(folder: Path) -> None:
    said = [nino(*arguments) for program, *arguments in commands(GUIDE) if program == "nino"]
    assert [text.count("keeps the contract") for text in said] == [1, 1, 0, 0]
    assert "8 evaluations" in said[2]
    assert (folder / "results/mine/evaluate/digits-8/median/seed=1000/run.json").is_file()


@pytest.mark.xdist_group("workflow")
def test_the_workflow_plans_its_runs(folder: Path) -> None:
    (command,) = [arguments for program, *arguments in commands(GUIDE) if program == "snakemake"]
    given = [*command, "-n", "--snakefile", str(ROOT / "Snakefile")]
    code, said = preloaded.call("snakemake", given, folder, dict(os.environ))
    assert code == 0 and "evaluation: digits-8, median-half, seed 2000" in said, said
    run = resolve(load([folder / "mine.yaml"]))
    assert run.sources("digits-8", "median") == ["my_nowcaster.py"] and run.sources("digits-8", "base") == []


def test_it_becomes_a_row_of_table_2_and_of_the_profile(folder: Path) -> None:
    run = resolve(load([folder / "mine.yaml"]))
    for task, method, seed in run.evaluations:
        nino("evaluate", "--config", "mine.yaml", "--task", task, "--method", method, "--seed", str(seed))
    shown = nino("tables", "--config", "mine.yaml")
    assert "Median slope (0.5)" in shown
    table = pd.read_csv("results/mine/tables/table2.csv").set_index("method")
    assert table.loc[["median", "median-half"], "role"].tolist() == ["method", "method"]
    assert (table.seeds_run == 2).all() and table.loc["base", "seeds_reached"] == 2
    write_figures(Path("results/mine"), run.report)
    assert "Median slope" in Path("results/mine/figures/profile.svg").read_text(encoding="utf-8")
    assert isinstance(run.report, ReportSpec) and "median" in run.report.contenders


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("my_nowcaster.py:MedianSlope", "my_nowcaster.py:MedianSlop", "defines no MedianSlop; did you mean"),
        ("my_nowcaster.py:MedianSlope", "nowcaster.py:MedianSlope", "there is no file nowcaster.py"),
        ("my_nowcaster.py:MedianSlope", "no_such_module:MedianSlope", "there is no installed module no_such_module"),
        ("{decay: 0.5}", "{decai: 0.5}", "MedianSlope takes no argument 'decai'; did you mean 'decay'?"),
        ('nowcaster: "my_nowcaster.py:MedianSlope"', "nowcaster: mediann", "or a nowcaster of your own: FILE.py:NAME"),
    ],
)
def test_slips_are_named_before_anything_runs(folder: Path, was: str, now: str, says: str) -> None:
    overlay = folder / "mine.yaml"
    overlay.write_text(overlay.read_text(encoding="utf-8").replace(was, now), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(says)):
        resolve(load([overlay]))


def test_changed_code_is_another_job(folder: Path) -> None:
    one = ("evaluate", "--config", "mine.yaml", "--task", "digits-8", "--method", "median", "--seed", "1000")
    record = folder / "results/mine/evaluate/digits-8/median/seed=1000/run.json"
    nino(*one)
    first = record.stat().st_mtime_ns
    nino(*one)
    assert record.stat().st_mtime_ns == first
    source = folder / "my_nowcaster.py"
    source.write_text(source.read_text(encoding="utf-8").replace("0.9", "0.8"), encoding="utf-8")
    nino(*one)
    assert record.stat().st_mtime_ns > first


def test_it_is_a_nowcaster(folder: Path) -> None:
    from nino.evaluate.user_class import build_user_nowcaster

    assert isinstance(build_user_nowcaster("my_nowcaster.py:MedianSlope", decay=0.5), Nowcaster)
