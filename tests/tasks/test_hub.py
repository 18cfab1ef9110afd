"""Text from repositories as the hub has them, through the real library: a local folder stands for the repository."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nino.specs import DataSpec
from nino.tasks import DATASETS, language
from nino.tasks.hub import HUB_TEXT, HubText, fetch
from nino.tasks.text import find_files, sentence_row, wiki_row

WIKI = {
    "train": ["", " = Title = \n", "", " First paragraph ab . \n", " Second one , longer . \n"] * 9,
    "validation": [" = Other = \n", "", " A paragraph of validation . \n"] * 3,
    "test": ["", " The test paragraph ab . \n"] * 4,
}
NEWS = {
    "train": [f"Sentence number {i} of the news ab ." for i in range(100)],
    "test": [f"Held-out sentence {i} ." for i in range(9)],
}


def parquet(path: Path, rows: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": rows}), path)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder laid out as a repository of Parquet files; nothing is asked of the network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "repository"


def local(hub_text: HubText, repository: Path) -> HubText:
    return replace(hub_text, repository=str(repository), revision=None)


def test_lm1b_holds_back_the_first_twentieth(repository: Path, tmp_path: Path) -> None:
    # as the hub's branch of converted files has it: two files of the training part, no README
    parquet(repository / "plain_text" / "train" / "0000.parquet", NEWS["train"][:60])
    parquet(repository / "plain_text" / "train" / "0001.parquet", NEWS["train"][60:])
    parquet(repository / "plain_text" / "test" / "0000.parquet", NEWS["test"])
    fetch(local(HUB_TEXT["lm1b"], repository), tmp_path / "lm1b")
    files = find_files("lm1b", "parquet", tmp_path / "lm1b", {}, sentence_row)
    assert list(files.rows("train")) == NEWS["train"][5:]
    assert list(files.rows("validation")) == NEWS["train"][:5]
    assert list(files.rows("test")) == NEWS["test"]


def test_wikitext_is_the_same_from_the_hub_parquet_and_text(
    repository: Path, tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as the hub has it: a folder a variant, which the README names too
    variants = ("wikitext-103-raw-v1", "wikitext-2-v1")
    readme = "\n".join(f"- {{config_name: {v}, data_files: [{{split: train, path: {v}/train-*}}]}}" for v in variants)
    (repository / "README.md").parent.mkdir(parents=True)
    (repository / "README.md").write_text(f"---\nconfigs:\n{readme}\n---\n", encoding="utf-8")
    for split, rows in WIKI.items():
        parquet(repository / variants[0] / f"{split}-00000-of-00001.parquet", rows)
        parquet(repository / variants[1] / f"{split}-00000-of-00001.parquet", ["another variant \n"] * 9)
        parquet(tmp_path / "parquet" / f"{split}.parquet", rows)
        text = tmp_path / "text" / f"{split}.txt"
        text.parent.mkdir(exist_ok=True)
        text.write_text("".join(row or " \n" for row in rows), encoding="utf-8")
    monkeypatch.setitem(language.HUB_TEXT, "wikitext-103", local(HUB_TEXT["wikitext-103"], repository))

    def load(source: str, path: Path | None, download: bool = False) -> str:
        spec = DataSpec("wikitext-103", source, path and str(path), {"block": 16, "tokenizer": str(tokenizer_folder)})
        return DATASETS["wikitext-103"](spec, tmp_path, download).checksum

    checksums = {load("text", tmp_path / "text"), load("parquet", tmp_path / "parquet"), load("hub", None, True)}
    assert len(checksums) == 1
    assert load("hub", None) in checksums  # kept: the hub is not asked again
    assert list(find_files("w", "text", tmp_path / "text", {}, wiki_row).rows("train")) == WIKI["train"]


def test_a_repository_that_is_not_there_says_what_belongs_where(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"could not fetch .*repository.*put it, a column 'text', into .*train"):
        fetch(local(HUB_TEXT["wikitext-103"], repository), tmp_path / "wiki")
    assert not list(tmp_path.glob("wiki/*.parquet"))


def test_a_repository_without_the_split_says_what_belongs_where(repository: Path, tmp_path: Path) -> None:
    parquet(repository / "plain_text" / "train" / "0000.parquet", NEWS["train"])
    with pytest.raises(FileNotFoundError, match=r"repository \(plain_text, test.*put it, a column 'text', into .*test"):
        fetch(local(HUB_TEXT["lm1b"], repository), tmp_path / "lm1b")
