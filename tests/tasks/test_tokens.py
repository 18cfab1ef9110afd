import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_damaged_cache_is_refused(tmp_path):
    cached_blocks(tmp_path, KEY, rows, encode, 256)
    (folder,) = tmp_path.iterdir()
    meta = json.loads((folder / "meta.json").read_text())
    meta["splits"]["train"]["blocks"] += 1
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match="train.npy: 6 blocks, expected 7.*delete the folder"):
        cached_blocks(tmp_path, KEY, rows, encode, 256)
    array = (folder / "train.npy").read_bytes()
    (folder / "train.npy").write_bytes(array[:-3])
    with pytest.raises(ValueError, match="train.npy: damaged token cache.*delete the folder"):
        cached_blocks(tmp_path, KEY, rows, encode, 256)
