"""Files that a config names are looked for before any job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nino.config import ConfigError, require_files, resolve


def missing(config: dict[str, Any]) -> list[str]:
    try:
        require_files(resolve(config))
    except ConfigError as error:
        return list(error.problems)
    return []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", ["nino_no_posw", "nino_mlp.pt", "wnn", "mine.pt"])
def test_weights_are_a_file_or_published(config: dict[str, Any], folder: Path, path: str) -> None:
    (folder / "mine.pt").touch()
    config["evaluate"]["methods"]["linear"] = {"nowcaster": "checkpoint", "path": path}
    assert missing(config) == []


def test_weights_that_are_not_there_are_named(config: dict[str, Any], folder: Path) -> None:
    config["evaluate"]["methods"] |= {
        "linear": {"nowcaster": "checkpoint", "path": "nino_no_pos"},
        "far": {"nowcaster": "checkpoint", "path": "/no/such/file.pt"},
        "learned": {"nowcaster": "l2o", "path": "wnn"},
    }
    config["studies"] = {"permutation": {"nowcaster": "gone.pt"}}
    near, far, learned, study = missing(config)
    assert near.startswith(
        "evaluate.methods.linear.path (='nino_no_pos'): no such file (relative paths start at "
        f"{folder.name}/), and no published weights of this name; did you mean 'nino_no_posw'? Allowed: nino_mlp"
    )
    assert far.startswith("evaluate.methods.far.path (='/no/such/file.pt'): no such file, and no published")
    assert learned == f"evaluate.methods.learned.path (='wnn'): no such file (relative paths start at {folder.name}/)"
    assert study.startswith("studies.permutation.nowcaster (='gone.pt'): no such file")


def test_of_methods_that_are_not_run_nothing_is_needed(config: dict[str, Any], folder: Path) -> None:
    config["evaluate"]["methods"]["other"] = {"nowcaster": "checkpoint", "path": "gone.pt"}
    assert len(missing(config)) == 1
    config["evaluate"]["rows"] = ["base", "linear"]
    assert missing(config) == []


@pytest.mark.parametrize(("name", "source"), [("fashion-mnist", "npz"), ("images", "parquet"), ("images", "folder")])
def test_local_data_are_there(config: dict[str, Any], folder: Path, name: str, source: str) -> None:
    data = {"name": name, "source": source, "path": "images"}
    config["tasks"]["digits-8"]["data"] = data
    [problem] = missing(config)
    assert problem.startswith("tasks.digits-8.data.path (='images'): no such file or folder (relative paths start at")
    (folder / "images").mkdir()
    assert missing(config) == []


def test_the_folder_of_data_may_be_made_but_is_no_file(config: dict[str, Any], folder: Path) -> None:
    config["data_dir"] = "images"
    assert missing(config) == []
    (folder / "images").touch()
    assert missing(config) == ["data_dir (='images'): a file, not a folder"]


def test_data_that_are_fetched_may_not_be_there_yet(config: dict[str, Any], folder: Path) -> None:
    config["tasks"]["digits-8"]["data"] = {"name": "fashion-mnist", "source": "torchvision", "path": "images"}
    assert missing(config) == []
