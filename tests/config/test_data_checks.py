"""What is wrong with data is said before any job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nino.config.data_checks import data_checks
from nino.config.load import load
from nino.config.resolve import resolve
from nino.specs import DataSpec


def said(name: str, **entry: Any) -> list[str]:
    return [*data_checks("tasks.t.data", {"name": name, **entry})]


TABLE = {"options": {"target": "y"}}


@pytest.mark.parametrize(
    ("name", "entry", "says"),
    [
        ("digits", {}, None),
        ("text", {"source": "text", "path": "my.txt"}, None),
        ("table", {"source": "csv", "path": "my.csv", **TABLE}, None),
        ("table", {"source": "hub", "options": {"target": "y", "repository": "a/b"}}, None),
        ("images", {"source": "folder", "path": "im", "options": {"size": 32}}, None),
        ("mine.py:load", {"options": {"anything": 1}}, None),
        ("mine.py:load", {"source": "csv"}, "t.data.source (=csv) goes with data sets of ours"),
        ("digits", {"source": "hub"}, "tasks.t.data.source (=hub): digits comes from embedded"),
        ("table", TABLE, "tasks.t.data.source (=embedded): table comes from csv, parquet, hub"),
        ("table", {"source": "csv", **TABLE}, "tasks.t.data.path: missing"),
        ("images", {"source": "folder"}, "tasks.t.data.path: missing"),
        ("images", {"source": "npz", "options": {"size": 3}}, "options.size: images of an .npz file have no options"),
        ("text", {"source": "hub"}, "tasks.t.data.options.repository: missing"),
        ("table", {"source": "csv", "path": "a", "options": {"target": ["a", "b"]}}, "with predict: number only"),
        (
            "table",
            {"source": "csv", "path": "a", "options": {"target": "y", "subset": "b"}},
            "goes with source: hub; this",
        ),
        ("images", {"source": "folder", "path": "a", "options": {"label": "b"}}, "goes with source: parquet or hub"),
        ("text", {"source": "hub", "path": "a", "options": {"repository": "a/b"}}, "t.data.path (=a) goes with local"),
        ("text", {"source": "text", "options": {"cut": {"test": 0.95}}}, "leave nothing for training"),
        ("images", {"source": "folder", "path": "a", "options": {"draw": {"validation": 0.9}}}, "options.draw"),
    ],
)
def test_contradictions(name: str, entry: dict[str, Any], says: str | None) -> None:
    sentences = said(name, **entry)
    assert sentences == [] if says is None else len(sentences) == 1 and says in sentences[0], sentences


def test_files_that_change_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are inputs of the workflow's job: one file, the files of a folder, and code."""
    run = resolve(load([Path(__file__).parents[1] / "workflow" / "tiny.yaml"]))
    task = run.tasks["digits-2"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t").mkdir()
    for name in ("train.csv", "validation.csv", "test.csv", "notes.txt"):
        (tmp_path / "t" / name).write_text("x,y\n1,a\n")
    (tmp_path / "mine.py").write_text("def load(path):\n    return path\n")

    def files(*spec: Any) -> list[str]:
        return replace(run, tasks={"digits-2": replace(task, data=DataSpec(*spec))}).data_files("digits-2")

    assert files("digits") == []
    assert files("table", "csv", "t/train.csv", {"target": "y"}) == ["t/train.csv"]
    assert files("table", "csv", "t", {"target": "y"}) == ["t/train.csv", "t/validation.csv", "t/test.csv"]
    assert files("text", "text", "t") == ["t/notes.txt"]
    assert files("table", "csv", "none", {"target": "y"}) == []
    assert files("mine.py:load", "embedded", "t/notes.txt") == ["t/notes.txt", "mine.py"]
