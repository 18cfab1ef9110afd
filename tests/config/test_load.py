from __future__ import annotations

from pathlib import Path

import pytest

from nino.config.errors import ConfigError
from nino.config.load import load, merge, read, without_nulls


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_overlays_are_laid_over_the_base_in_order(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "a: {b: 1, c: [1, 2]}\nd: 3")
    first = write(tmp_path / "first.yaml", "a: {c: [9]}")
    second = write(tmp_path / "second.yaml", "d: 4\ne: 5")
    assert load([first, second], base) == {"a": {"b": 1, "c": [9]}, "d": 4, "e": 5}


def test_merging_is_snakemakes() -> None:
    from snakemake.utils import update_config

    base = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    overlay = {"a": {"c": [3], "g": {"h": 1}}, "d": 2, "f": None}
    theirs: dict[str, object] = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    update_config(theirs, overlay)
    assert merge(base, overlay) == theirs


def test_merging_leaves_its_arguments_alone() -> None:
    base, overlay = {"a": {"b": 1}}, {"a": {"c": 2}}
    merge(base, overlay)["a"]["b"] = 7
    assert (base, overlay) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_a_mapping_can_begin_as_another_one(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: &a {b: 1, c: 2}\nd: {<<: *a, c: 3}\n")
    assert read(file)["d"] == {"b": 1, "c": 3}


def test_null_takes_an_entry_away() -> None:
    assert without_nulls({"a": {"b": None, "c": 0}, "d": [None]}) == {"a": {"c": 0}, "d": [None]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: {c: 1, c: 2}", "the key 'c' stands twice"),
        ("a: [1", "a.yaml: while parsing"),
        ("- 1", "holds a list"),
        ("a: \t1", "a.yaml: "),
    ],
)
def test_unusable_files_are_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match="a.yaml") as error:
        read(write(tmp_path / "a.yaml", text))
    assert reason in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such config file"):
        read(tmp_path / "gone.yaml")


def test_an_empty_file_is_an_empty_overlay(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.yaml", "# nothing\n")) == {}
