"""Files that a config names are looked for before any job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nino.config.errors import ConfigError
from nino.config.file_checks import require_files
from nino.config.resolve import resolve


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
    if source == "npz":
        (folder / "images").touch()
    else:
        (folder / "images").mkdir()
        (folder / "images" / "all.parquet").touch()
    assert missing(config) == []


TABLE = {"options": {"target": "y"}}
NAMED = {"target": "y", "files": {"train": "no.csv"}}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"name": "table", "source": "csv", "path": "full", **TABLE}, None),
        ({"name": "table", "source": "csv", "path": "full/a.csv", **TABLE}, None),
        ({"name": "mine.py:load", "path": "full/a.csv"}, None),
        (
            {
                "name": "table",
                "source": "csv",
                "path": "full",
                "options": {"target": "y", "files": {"train": "no.csv"}},
            },
            "tasks.digits-8.data 'table': no file full/no.csv, which data.options.files.train names",
        ),
        (
            {
                "name": "table",
                "source": "csv",
                "path": "full/a.csv",
                "options": {"target": "y", "files": {"test": "b"}},
            },
            "with data.options.files it must be their folder",
        ),
        ({"name": "table", "source": "csv", "path": "empty", **TABLE}, "has no train split: no file of .csv"),
        ({"name": "images", "source": "parquet", "path": "full"}, "has no train split: no file of .parquet"),
        ({"name": "images", "source": "folder", "path": "full/a.csv"}, "a file; images with source folder is a folder"),
        ({"name": "imagenet32", "source": "npz", "path": "full/a.csv"}, "a file; imagenet32 with source npz is a"),
        ({"name": "digits-like.py:load", "path": "full/a.csv"}, "there is no file digits-like.py"),
        ({"name": "mine.py:load", "path": "gone"}, "tasks.digits-8.data.path (='gone'): no such file or folder"),
        ({"name": "mine.py:load"}, "tasks.digits-8.data.name (=mine.py:load): load needs path; set it beside options"),
        ({"name": "cifar10", "source": "npz", "path": "full"}, "a folder; cifar10 with source npz is one file"),
    ],
)
def test_local_data_hold_what_their_source_reads(
    config: dict[str, Any], folder: Path, data: dict[str, Any], says: str | None
) -> None:
    (folder / "mine.py").write_text("def load(path): ...\n", encoding="utf-8")
    for name in ("full", "empty"):
        (folder / name).mkdir()
    (folder / "full" / "a.csv").write_text("x,y\n1,a\n", encoding="utf-8")
    model = {"name": "mlp", "options": {"hidden": [4]}}
    config["tasks"]["digits-8"] |= {"data": data, "model": model}
    found = missing(config)
    assert found == [] if says is None else len(found) == 1 and says in found[0], found


def test_texts_in_splits_are_where_the_config_says(config: dict[str, Any], folder: Path) -> None:
    (folder / "wiki").mkdir()
    (folder / "wiki" / "a.txt").touch()
    named = {"files": {"train": "a.txt", "test": ["a.txt", "no.txt"]}}
    config["tasks"]["pydoc-2-16"]["data"] = {"name": "lm1b", "source": "text", "path": "wiki", "options": named}
    assert missing(config) == ["tasks.pydoc-2-16.data.options.files.test (='no.txt'): no such file in wiki"]


def test_names_that_no_path_can_hold_are_not_there(config: dict[str, Any], folder: Path) -> None:
    long = "f" * 300
    config["evaluate"]["methods"]["linear"] = {"nowcaster": "checkpoint", "path": long}
    config["tasks"]["digits-8"]["data"] = {"name": "fashion-mnist", "source": "npz", "path": long}
    config["data_dir"] = long
    weights, cache, data = missing(config)
    assert weights.startswith(f"evaluate.methods.linear.path (='{long}'): no such file")
    assert cache == f"data_dir (='{long}'): no folder can be made there (File name too long)"
    assert data.startswith(f"tasks.digits-8.data.path (='{long}'): no such file or folder")
    config["tasks"]["digits-8"]["model"] = {"name": f"{long}.py:make"}
    (named,) = missing(config)
    assert named.startswith(f"tasks.digits-8.model.name (={long}.py:make): there is no file {long}.py")


def test_the_folder_of_data_may_be_made_but_is_no_file(config: dict[str, Any], folder: Path) -> None:
    config["data_dir"] = "images"
    assert missing(config) == []
    (folder / "images").touch()
    assert missing(config) == ["data_dir (='images'): a file, not a folder"]


def test_data_that_are_fetched_may_not_be_there_yet(config: dict[str, Any], folder: Path) -> None:
    config["tasks"]["digits-8"]["data"] = {"name": "fashion-mnist", "source": "torchvision", "path": "images"}
    assert missing(config) == []
