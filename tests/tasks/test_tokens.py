import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nino.tasks import checked_pieces, tokens
from nino.tasks.language import first_blocks
from nino.tasks.tokens import cached_blocks, cut_blocks, write_array

KEY = {"source": "s", "tokenizer": "t", "block": 4, "group": 3}


def encode(rows):
    return [list(row.encode()) for row in rows]


def rows(split):
    return {"train": ["abcdef", "gh", "ijk"] * 3, "validation": ["abcdefgh"], "test": ["mnop", "", "qrs"]}[split]


@given(st.lists(st.text(max_size=9), max_size=12), st.integers(1, 5), st.integers(1, 4))
def test_blocks_are_the_concatenation_of_each_group(texts, block, group):
    blocks = [b.tolist() for b in cut_blocks(texts, encode, block, group)]
    assert len(blocks) == -(-len(texts) // group)
    for i, found in enumerate(blocks):
        tokens = list("".join(texts[i * group : (i + 1) * group]).encode())
        assert sum(found, []) == tokens[: len(tokens) // block * block]


@pytest.mark.parametrize("parts", [[], [0], [3, 0, 2], [12345]])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_an_array_written_in_parts_reads_back(tmp_path, parts, dtype):
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 60_000, (n, 4)) for n in parts]
    count, _ = write_array(tmp_path / "a.npy", iter(values), 4, np.dtype(dtype))
    read = np.load(tmp_path / "a.npy")
    assert count == sum(parts) and read.dtype == dtype and read.shape == (count, 4)
    assert np.array_equal(read, np.concatenate([np.empty((0, 4)), *values]))


def test_tokens_are_made_once_and_mapped(tmp_path):
    first = cached_blocks(tmp_path, KEY, rows, encode, 256)
    assert first["test"].tokens.tolist() == [list(b"mnop")]
    assert len(first["train"]) == 6

    def must_not_run(_):
        raise AssertionError("tokenized again")

    again = cached_blocks(tmp_path, KEY, must_not_run, must_not_run, 256)
    assert all(again[s].tokens.equal(first[s].tokens) and again[s].digest() == first[s].digest() for s in first)
    assert isinstance(np.load(next(tmp_path.glob("*/train.npy")), mmap_mode="r"), np.memmap)


@pytest.mark.parametrize("change", [{"source": "other"}, {"tokenizer": "other"}, {"block": 2}, {"group": 1}])
def test_another_key_is_another_cache(tmp_path, change):
    cached_blocks(tmp_path, KEY, rows, encode, 256)
    cached_blocks(tmp_path, KEY | change, rows, encode, 256)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failure_leaves_nothing_behind(tmp_path):
    def fails(texts):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cached_blocks(tmp_path, KEY, rows, fails, 256)
    with pytest.raises(ValueError, match="the validation split has fewer than 9 tokens a group of 3 rows"):
        cached_blocks(tmp_path, KEY | {"block": 9}, rows, encode, 256)
    assert list(tmp_path.iterdir()) == []


def test_large_vocabularies_take_four_bytes(tmp_path):
    blocks = cached_blocks(tmp_path, KEY, rows, lambda texts: [[100_000] * 4 for _ in texts], 128_256)
    assert blocks["validation"].select(blocks["validation"].tokens.new_zeros(1).long())[0].tolist() == [[100_000] * 3]


def read(folder):
    """Every token that a training could see, through the doors that trainings use."""
    blocks = cached_blocks(folder, KEY, rows, encode, 256)
    return {split: [*b.select(torch.arange(len(b))), *b.slice(0, len(b))] for split, b in blocks.items()}


def test_no_flipped_byte_of_a_cache_is_trained_on(tmp_path):
    cached_blocks(tmp_path, KEY, rows, encode, 256)
    whole = read(tmp_path)
    (folder,) = tmp_path.iterdir()
    refused = 0
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        for place in range(0, len(data), 3 if path.suffix == ".npy" else 17):
            path.write_bytes(data[:place] + bytes([data[place] ^ 0x11]) + data[place + 1 :])
            try:
                found = read(tmp_path)
            except ValueError as error:
                assert "damaged token cache" in str(error) and f"delete the folder {folder}" in str(error)
                assert "\n" not in str(error)
                refused += 1
            else:
                assert all(a.equal(b) for split in whole for a, b in zip(found[split], whole[split], strict=True))
        path.write_bytes(data)
    assert refused > 100


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"key": 1, "splits": {}}', '{"splits": {"train": 3}}'])
def test_a_description_that_is_none_says_what_to_do(tmp_path, text):
    cached_blocks(tmp_path, KEY, rows, encode, 256)
    (folder,) = tmp_path.iterdir()
    (folder / "meta.json").write_text(text)
    with pytest.raises(ValueError, match="meta.json: damaged token cache.*delete the folder.*run the same command"):
        cached_blocks(tmp_path, KEY, rows, encode, 256)


def test_a_piece_is_checked_when_it_is_first_read(tmp_path, monkeypatch):
    monkeypatch.setattr(checked_pieces, "PIECE_BYTES", 2 * KEY["block"])  # uint16: a row a piece
    blocks = cached_blocks(tmp_path, KEY, rows, encode, 256)["train"]
    path = next(tmp_path.glob("*/train.npy"))
    assert len(json.loads((path.parent / "meta.json").read_text())["splits"]["train"]["pieces"]) == len(blocks) == 6
    with path.open("r+b") as file:  # the file that is mapped, not another one in its place
        file.seek(-1, 2)
        file.write(b"?")
    again = cached_blocks(tmp_path, KEY, rows, encode, 256)["train"]
    again.select(torch.tensor([4, 0]))
    for refused in (
        lambda: again.select(torch.tensor([0, 5])),
        lambda: again.slice(3, 9),
        replace(again, checksum=None).digest,
    ):
        with pytest.raises(ValueError, match="train.npy: damaged token cache .rows 5 to 5 are not"):
            refused()
    assert first_blocks(again, 5).digest() == first_blocks(blocks, 5).digest()


@pytest.mark.parametrize("writable", [True, False])
def test_a_cache_of_an_earlier_version_is_checked_whole(tmp_path, monkeypatch, writable):
    first = cached_blocks(tmp_path, KEY, rows, encode, 256)
    (folder,) = tmp_path.iterdir()
    path = folder / "meta.json"
    meta = json.loads(path.read_text())
    old = {s: {k: entry[k] for k in ("blocks", "sha256")} for s, entry in meta["splits"].items()}
    path.write_text(json.dumps({"key": KEY, "splits": old}))
    if not writable:

        def refuse(*_):
            raise PermissionError("read-only")

        monkeypatch.setattr(tokens, "write_text", refuse)
    again = cached_blocks(tmp_path, KEY, rows, encode, 256)
    assert {s: b.digest() for s, b in again.items()} == {s: b.digest() for s, b in first.items()}
    assert again["train"].slice(0, 6)[0].equal(first["train"].slice(0, 6)[0])
    assert (json.loads(path.read_text()) == meta) is writable
    path.write_text(json.dumps({"key": KEY, "splits": old}))
    array = (folder / "test.npy").read_bytes()
    (folder / "test.npy").write_bytes(array[:-1] + b"?")
    with pytest.raises(ValueError, match="test.npy: damaged token cache .its tokens are not those"):
        cached_blocks(tmp_path, KEY, rows, encode, 256)
