import gzip
import hashlib

import pytest

from nino.tasks.text import find_files, sentence_row, wiki_row

LINES = {"train": " = A = \n \nfirst line\nsecond\n", "validation": "v\n", "test": "t é\n"}


def write_text(folder, zipped=()):
    for split, text in LINES.items():
        if split in zipped:
            (folder / f"{split}.txt.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / f"{split}.txt").write_text(text, encoding="utf-8")


def test_lines_become_rows_as_the_parquet_releases_have_them(tmp_path):
    write_text(tmp_path, zipped=("test",))
    files = find_files("x", "text", tmp_path, {}, wiki_row)
    assert list(files.rows("train")) == [" = A = \n", "", "first line\n", "second\n"]
    assert list(files.rows("test")) == ["t é\n"]
    assert list(find_files("x", "text", tmp_path, {}, sentence_row).rows("train")) == [
        "= A =",
        "",
        "first line",
        "second",
    ]


def test_parquet_holds_the_rows_themselves(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for split in LINES:
        pq.write_table(pa.table({"text": ["one\n", "", split]}), tmp_path / f"{split}-00000-of-00001.parquet")
    files = find_files("x", "parquet", tmp_path, {}, wiki_row)
    assert list(files.rows("validation")) == ["one\n", "", "validation"]
    pq.write_table(pa.table({"words": ["one"]}), tmp_path / "test-00000-of-00001.parquet")
    with pytest.raises(ValueError, match="test-00000-of-00001.parquet: no column 'text', found words"):
        list(files.rows("test"))


def test_several_files_of_a_split_are_read_in_the_order_given(tmp_path):
    write_text(tmp_path)
    given = {"train": ["test.txt", "validation.txt"], "validation": "test.txt"}
    files = find_files("x", "text", tmp_path, given, wiki_row)
    assert list(files.rows("train")) == ["t é\n", "v\n"]
    assert list(files.rows("validation")) == ["t é\n"]


def test_identity_follows_the_bytes_and_not_the_place(tmp_path):
    def identity(folder, row=wiki_row):
        files = find_files("x", "text", folder, {}, row)
        return files.identity(files.checksums())

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_text(tmp_path / name)
    first = identity(tmp_path / "a")
    assert identity(tmp_path / "b") == first
    assert identity(tmp_path / "b", sentence_row) != first
    (tmp_path / "b" / "test.txt").write_text("changed\n")
    assert identity(tmp_path / "b") != first


def test_files_of_one_name_are_told_apart(tmp_path):
    given = {split: f"{split}/0000.txt" for split in LINES}
    for split in LINES:
        (tmp_path / split).mkdir()
        (tmp_path / given[split]).write_text(LINES[split], encoding="utf-8")

    def read():
        files = find_files("x", "text", tmp_path, given, wiki_row)
        return files.checksums(), files.identity(files.checksums())

    checksums, identity = read()
    assert set(checksums) == set(given.values()) and len(set(checksums.values())) == 3
    (tmp_path / given["train"]).write_text("rewritten\n")
    changed, new_identity = read()
    assert changed[given["train"]] != checksums[given["train"]] and new_identity != identity


def test_the_identity_of_files_of_different_names_is_that_of_former_versions(tmp_path):
    """Tokens are kept, and runs compared, by it."""
    write_text(tmp_path)
    files = find_files("x", "text", tmp_path, {}, wiki_row)
    parts = [f"{split}:{hashlib.sha256(LINES[split].encode()).hexdigest()}" for split in LINES]
    assert files.identity(files.checksums()) == hashlib.sha256("\n".join(["wiki_row", *parts]).encode()).hexdigest()


def test_missing_files_are_named(tmp_path):
    write_text(tmp_path)
    (tmp_path / "validation.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"'wiki' has no validation split.*validation\*.txt or .*nino data"):
        find_files("wiki", "text", tmp_path, {}, wiki_row)
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.txt"):
        find_files("wiki", "text", tmp_path, {"train": "absent.txt"}, wiki_row)
    with pytest.raises(ValueError, match="names 'valid'; allowed are train, validation, test"):
        find_files("wiki", "text", tmp_path, {"valid": "test.txt"}, wiki_row)
