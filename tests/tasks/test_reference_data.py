"""Every data set of the reference folder, read as a user would read it."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nino.specs import DataSpec
from nino.tasks import DATASETS, Blocks, Data, Images
from nino.tasks.archives import ImageArrays
from nino.tasks.torchvision_ops import declare_missing_operators

declare_missing_operators()
from transformers import GPT2TokenizerFast  # noqa: E402 (needs the operators)


@pytest.fixture
def folder(shared: Path) -> Path:
    return shared / "data"


def language(name: str, folder: Path, data_dir: Path, files: dict[str, str | list[str]], **options: Any) -> Data:
    given = {"block": 128, "tokenizer": str(folder / "gpt2_tokenizer"), "files": files} | options
    return DATASETS[name](DataSpec(name, "text", str(folder), given), data_dir, False)


def lines_of(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return list(lines)


def tokens(data: Data, split: str) -> torch.Tensor:
    blocks = data.split(split)
    assert isinstance(blocks, Blocks)
    return blocks.tokens


def test_cifar_10_is_shuffled_before_it_is_split(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pack's own order and labels, with pixels that cost nothing to decode: the index of each image."""
    import nino.tasks.archives

    def numbered(data: object, offsets: np.ndarray) -> np.ndarray:
        images = np.zeros((len(offsets) - 1, 2, 2, 3), np.uint8)
        images[:, 0, 0, :2] = np.stack(np.divmod(np.arange(len(images)), 256), axis=1)
        return images

    monkeypatch.setattr(nino.tasks.archives, "decode_jpegs", numbered)
    path = folder / "cifar10_jpeg.npz"
    data = DATASETS["cifar10"](DataSpec("cifar10", "npz", str(path)), tmp_path, False)
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [45_834, 4_166, 10_000]
    assert data.facts["shuffled"] is True and data.outputs == 10
    assert data.facts["files"] == {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    with np.load(path) as pack:
        labels = torch.from_numpy(pack["y_train"].astype(np.int64))
    for split in (data.train, data.validation):
        assert isinstance(split, Images)
        corner = split.raw[:, :2, 0, 0].long()
        assert torch.equal(labels[256 * corner[:, 0] + corner[:, 1]], split.labels)
        shares = split.labels.bincount() / len(split)
        assert (shares - 0.1).abs().max() < 0.02


def test_images_of_the_packs_decode(folder: Path) -> None:
    from nino.tasks.archives import channels_first, decode_jpegs

    for name, classes in (("cifar10_jpeg.npz", 10), ("tinyimagenet_32px_jpeg.npz", 200)):
        with np.load(folder / name) as pack:
            offsets, labels = pack["off_train"], pack["y_train"]
            last = decode_jpegs(pack["jpeg_train"], offsets[-101:])
        assert len(np.unique(labels)) == classes and len(offsets) == len(labels) + 1
        images = channels_first(last)
        assert images.shape == (100, 3, 32, 32) and images.float().std() > 20


def test_tiny_imagenet_has_its_validation_images_as_test(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nino.tasks import vision

    def small(path: Path, data_dir: Path) -> ImageArrays:
        with np.load(path) as pack:
            sets = [torch.from_numpy(pack[f"y_{split}"].astype(np.int64)) for split in ("train", "val")]
        return ImageArrays(*((torch.zeros(len(y), 3, 1, 1, dtype=torch.uint8), y) for y in sets))

    monkeypatch.setattr(vision, "read_archive", small)  # 110,000 JPEGs take half a minute
    path = str(folder / "tinyimagenet_32px_jpeg.npz")
    data = DATASETS["images"](DataSpec("images", "npz", path), tmp_path, False)
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [91_667, 8_333, 10_000]
    assert data.outputs == 200


def test_wikitext_validation_and_test(folder: Path, tmp_path: Path) -> None:
    files: dict[str, str | list[str]] = {
        "train": "wikitext103_valid.txt.gz",
        "validation": "wikitext103_valid.txt.gz",
        "test": "wikitext103_test.txt.gz",
    }
    data = language("wikitext-103", folder, tmp_path, files, block=1024)
    rows = [line if line.strip() else "" for line in lines_of(folder / "wikitext103_test.txt.gz")]
    encode = GPT2TokenizerFast.from_pretrained(folder / "gpt2_tokenizer")
    groups = [sum(map(len, encode(rows[i : i + 1000])["input_ids"])) for i in range(0, len(rows), 1000)]
    assert (len(data.validation), len(data.test)) == (240, sum(count // 1024 for count in groups))
    assert torch.equal(tokens(data, "train"), tokens(data, "validation"))
    assert data.facts["files"].keys() == {"wikitext103_valid.txt.gz", "wikitext103_test.txt.gz"}
    maps = list(tmp_path.glob("tokens/*/test.npy"))
    assert len(maps) == 1 and np.load(maps[0], mmap_mode="r").shape == (len(data.test), 1024)


def test_lm1b_sentences_follow_one_another(folder: Path, tmp_path: Path) -> None:
    files: dict[str, str | list[str]] = {
        "train": "lm1b_heldout_10_11.txt.gz",
        "validation": "lm1b_heldout_12_13.txt.gz",
        "test": "lm1b_heldout_12_13.txt.gz",
    }
    data = language("lm1b", folder, tmp_path, files)
    # 24,321 sentences of 616,671 words in both files
    assert 616_671 / 128 < len(data.train) + len(data.test) < 1.4 * 616_671 / 128
    text = "".join(line.strip() for line in lines_of(folder / "lm1b_heldout_12_13.txt.gz")[:40])
    decoded = GPT2TokenizerFast.from_pretrained(folder / "gpt2_tokenizer").decode(tokens(data, "test")[0].tolist())
    assert text.startswith(decoded) and len(decoded) > 400


def test_wikipedia_articles_are_any_text(folder: Path, tmp_path: Path) -> None:
    files: dict[str, str | list[str]] = {
        "train": "enwiki_valid.txt.gz",
        "validation": "enwiki_valid.txt.gz",
        "test": "enwiki_valid.txt.gz",
    }
    data = language("text", folder, tmp_path, files, evaluation_blocks=50)
    assert data.outputs == 50_257 and len(data.validation) == 50 and len(data.train) > 3000
    assert int(tokens(data, "train").long().max()) < 50_257
    assert data.checksum == language("text", folder, tmp_path, files, evaluation_blocks=50).checksum
