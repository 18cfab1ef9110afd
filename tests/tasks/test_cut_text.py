"""A text of one's own: a file, a folder, files of splits; bytes as tokens."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nino.specs import DataSpec
from nino.specs.data_options import UserTextOptions
from nino.tasks import DATASETS, Data
from nino.tasks.cut_text import CutText, user_text
from nino.tasks.data_contract import violations
from nino.tasks.text import exact_row, wiki_row

LINES = [f"line {i} of the text, après tout\n" + "\n" * (i % 7 == 0) for i in range(400)]
TEXT = "".join(LINES)


def load(path: Path, data_dir: Path, source: str = "text", **options: Any) -> Data:
    values = {"tokenizer": "bytes", "block": 16} | options
    return DATASETS["text"](DataSpec("text", source, str(path), values), data_dir, False)


def cut(
    path: Path, source: str = "text", row: Callable[[str], str] = exact_row, **options: Any
) -> dict[str, list[str]]:
    spec = DataSpec("text", source, str(path), options)
    text = user_text(spec, UserTextOptions.from_dict(options), row, path)
    assert isinstance(text, CutText)
    return {split: list(text.rows(split)) for split in ("train", "validation", "test")}


def test_a_file_is_cut_into_consecutive_parts(tmp_path: Path) -> None:
    (tmp_path / "my.txt").write_text(TEXT, encoding="utf-8")
    parts = {split: "".join(rows) for split, rows in cut(tmp_path / "my.txt").items()}
    assert parts["train"] + parts["validation"] + parts["test"] == TEXT
    shares = [len(part) / len(TEXT) for part in parts.values()]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.005)
    assert all(part[-1].isspace() for part in parts.values())
    other = cut(tmp_path / "my.txt", cut={"validation": 0.3, "test": 0.2})
    assert len("".join(other["train"])) / len(TEXT) == pytest.approx(0.5, abs=0.005)


def test_bytes_are_the_text(tmp_path: Path) -> None:
    (tmp_path / "my.txt").write_text(TEXT, encoding="utf-8")
    data = load(tmp_path / "my.txt", tmp_path, group=10**6)
    assert data.kind == "language" and data.outputs == 256 and data.shape == (16,)
    decoded = bytes(torch.as_tensor(data.train.tokens).flatten().tolist())  # type: ignore[attr-defined]
    assert TEXT.encode().startswith(decoded) and len(decoded) > 0.79 * len(TEXT.encode())
    assert violations(lambda: load(tmp_path / "my.txt", tmp_path, group=10**6)) == []
    assert data.facts["files"].keys() == {"my.txt"} and data.facts["tokenizer"] == "bytes"


def test_files_are_one_text_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(4):
        part = "".join(LINES[100 * i : 100 * (i + 1)]).encode()
        name = folder / f"part-{i}.txt"
        name.with_suffix(".txt.gz").write_bytes(gzip.compress(part)) if i % 2 else name.write_bytes(part)
    (folder / "readme.md").write_text("not read")
    (tmp_path / "my.txt").write_text(TEXT, encoding="utf-8")
    assert ["".join(rows) for rows in cut(folder).values()] == ["".join(r) for r in cut(tmp_path / "my.txt").values()]
    assert load(folder, tmp_path, group=10**6).checksum == load(tmp_path / "my.txt", tmp_path, group=10**6).checksum


def test_parquet_rows_are_cut_between_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"words": LINES}), tmp_path / "my.parquet", row_group_size=37)
    parts = cut(tmp_path / "my.parquet", "parquet", column="words")
    assert parts == {"train": LINES[:320], "validation": LINES[320:360], "test": LINES[360:]}
    with pytest.raises(ValueError, match="no column 'text', found words"):
        load(tmp_path / "my.parquet", tmp_path, "parquet")


def test_only_what_has_no_file_is_cut(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "held.txt").write_text("held back\n" * 9, encoding="utf-8")
    parts = cut(tmp_path, files={"train": "all.txt", "test": ["held.txt"]})
    assert "".join(parts["test"]) == "held back\n" * 9
    assert "".join(parts["train"] + parts["validation"]) == TEXT
    assert len("".join(parts["validation"])) / len(TEXT) == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize(
    "text", ["ab" * 3000, "é" * 3000, "one word " * 600, "\n" * 2000], ids=["ascii", "two bytes", "words", "line ends"]
)
def test_a_text_of_one_line_is_cut_between_letters(tmp_path: Path, text: str) -> None:
    (tmp_path / "my.txt").write_text(text, encoding="utf-8")
    parts = {split: "".join(rows) for split, rows in cut(tmp_path / "my.txt").items()}
    assert "".join(parts.values()) == text and len(parts["train"]) / len(text) == pytest.approx(0.8, abs=0.01)


def test_line_ends_of_windows_are_newlines_but_for_bytes(tmp_path: Path) -> None:
    content = b"one\r\ntwo\rthree\r\n" * 50
    (tmp_path / "my.txt").write_bytes(content)
    parts = cut(tmp_path / "my.txt")
    assert "".join(map("".join, parts.values())).encode() == content
    assert {line for rows in cut(tmp_path / "my.txt", row=wiki_row).values() for line in rows} == {
        "one\n",
        "two\rthree\n",
    }
    for split in ("train", "validation", "test"):
        (tmp_path / "parts").mkdir(exist_ok=True)
        (tmp_path / "parts" / f"{split}.txt.gz").write_bytes(gzip.compress(content))
        (tmp_path / "parts" / f"{split}-more.txt").write_bytes(content)
    tokens = load(tmp_path / "parts", tmp_path, group=10**6).train.tokens  # type: ignore[attr-defined]
    read = bytes(torch.as_tensor(tokens).flatten().tolist())
    assert len(read) > 2 * len(content) - 16 and (2 * content).startswith(read)


def test_files_of_two_folders_may_share_a_name(tmp_path: Path) -> None:
    for split, text in (("train", TEXT), ("test", "held back\n" * 9)):
        (tmp_path / split).mkdir()
        (tmp_path / split / "data.txt").write_text(text, encoding="utf-8")
    files = {split: f"{split}/data.txt" for split in ("train", "test")}
    first = load(tmp_path, tmp_path, files=files)
    assert first.facts["files"].keys() == {"train/data.txt", "test/data.txt"}
    (tmp_path / "train" / "data.txt").write_text(TEXT.replace("line", "Line"), encoding="utf-8")
    assert load(tmp_path, tmp_path, files=files).checksum != first.checksum


def test_bad_texts_are_refused_in_one_line(tmp_path: Path) -> None:
    def refused(path: Path, says: str, kind: type[Exception] = ValueError, **options: Any) -> None:
        with pytest.raises(kind, match=says) as caught:
            load(path, tmp_path, **options)
        assert "\n" not in str(caught.value)

    short = tmp_path / "short.txt"
    refused(short, "no file or folder .*short.txt, which data.path names", FileNotFoundError)
    short.write_text("a few words\n")
    refused(short, "the train split has fewer than 16 tokens .*smaller data.options.block")
    short.write_text("a few words\n" * 12)
    refused(short, "the validation split has fewer than 64 tokens", block=64)
    short.write_bytes("café\n".encode("latin-1") * 100)
    refused(short, r"short.txt: no UTF-8 text \(byte 3 is 0xe9\); save it as UTF-8")
    for split in ("train", "validation", "test"):
        (tmp_path / "latin").mkdir(exist_ok=True)
        (tmp_path / "latin" / f"{split}.txt").write_bytes("café\n".encode("latin-1") * 100)
    refused(tmp_path / "latin", r"latin/train.txt: no UTF-8 text \(.*\); save it as UTF-8")
    short.write_text("a few words\n" * 100)
    refused(short, "leaves nothing for training", cut={"validation": 0.5, "test": 0.5})
    refused(short, "has no test split, and data.options.cut.test is 0", cut={"test": 0.0})
    refused(short, "or bytes, which needs none", FileNotFoundError, tokenizer="some/name")
    refused(tmp_path / "tokens", "no file or folder|no train split", FileNotFoundError)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "train.txt").write_text("a few words\n" * 100)
    refused(tmp_path / "half", "has no validation split: no file validation", FileNotFoundError)
    assert not [*tmp_path.rglob("*.npy")]
