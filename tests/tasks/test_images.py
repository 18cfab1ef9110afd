"""Images of one's own: folders of classes, Parquet files as `datasets` writes them; decoded once."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nino.specs import DataSpec
from nino.tasks import DATASETS, Data, images
from nino.tasks.data_contract import shared_examples, violations

RNG = np.random.default_rng(0)


def picture(height: int = 6, width: int = 5, channels: int = 3) -> Image.Image:
    pixels = RNG.integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])


def fill(folder: Path, classes: dict[str, int], **size: int) -> None:
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            picture(**size).save(folder / name / f"{i}.png")


def load(folder: Path, data_dir: Path, source: str = "folder", **options: Any) -> Data:
    return DATASETS["images"](DataSpec("images", source, str(folder), options), data_dir, False)


def test_one_folder_of_classes_is_split_by_seed(tmp_path: Path) -> None:
    fill(tmp_path / "all", {"cat": 20, "dog": 10, "emu": 10})
    (tmp_path / "all" / "dog" / "notes.txt").write_text("no image")
    data = load(tmp_path / "all", tmp_path / "d")
    assert data.kind == "vision" and data.shape == (3, 6, 5) and data.outputs == 3
    assert data.facts["classes"] == ["cat", "dog", "emu"]
    counts = [torch.bincount(data.split(s).labels).tolist() for s in ("train", "validation", "test")]  # type: ignore
    assert counts == [[16, 8, 8], [2, 1, 1], [2, 1, 1]]
    other = load(tmp_path / "all", tmp_path / "d", draw={"seed": 5, "test": 0.3})
    assert other.checksum != data.checksum and len(other.test) == 12
    assert len([*(tmp_path / "d" / "decoded").glob("images-*.npz")]) == 1  # decoded once for both
    assert violations(lambda: load(tmp_path / "all", tmp_path / "d")) == [] and shared_examples(data) == []


def test_folders_of_splits_give_the_pixels_of_the_files(tmp_path: Path) -> None:
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        fill(tmp_path / "im" / split, {"a": count, "b": count})
    data = load(tmp_path / "im", tmp_path / "d")
    assert [len(data.split(split)) for split in ("train", "validation", "test")] == [10, 4, 6]
    for i, name in enumerate(("a/0", "a/1", "b/0", "b/1")):
        pixels = np.asarray(Image.open(tmp_path / "im" / "val" / f"{name}.png"))
        assert np.array_equal(data.validation.raw[i].permute(1, 2, 0).numpy(), pixels)  # type: ignore[attr-defined]
    assert data.test.slice(0, 6)[1].tolist() == [0, 0, 0, 1, 1, 1]


def test_images_are_decoded_once_and_again_where_a_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "im", {"a": 10, "b": 10})
    first = load(tmp_path / "im", tmp_path / "d")
    with monkeypatch.context() as patch:
        patch.setattr(images, "decoded", lambda *_: pytest.fail("decoded again"))
        assert load(tmp_path / "im", tmp_path / "d").checksum == first.checksum
    picture(9, 9).resize((5, 6)).save(tmp_path / "im" / "a" / "3.png")
    assert load(tmp_path / "im", tmp_path / "d").checksum != first.checksum


def test_sizes_and_colours(tmp_path: Path) -> None:
    fill(tmp_path / "im" / "train", {"a": 9, "b": 10})
    picture(8, 8).save(tmp_path / "im" / "train" / "a" / "other.png")
    with pytest.raises(ValueError, match=r"other.png is 8 x 8 pixels, .*0.png 6 x 5; set data.options.size") as caught:
        load(tmp_path / "im", tmp_path / "d")
    assert "\n" not in str(caught.value)
    assert load(tmp_path / "im", tmp_path / "d", size=4).shape == (3, 4, 4)
    assert load(tmp_path / "im", tmp_path / "d", size=4, colours="grey").shape == (1, 4, 4)
    fill(tmp_path / "im" / "test", {"a": 1, "b": 1}, height=7)
    (tmp_path / "im" / "train" / "a" / "other.png").unlink()
    with pytest.raises(ValueError, match=r"images of several sizes \(train 6 x 5, test 7 x 5 pixels\)"):
        load(tmp_path / "im", tmp_path / "d")


def test_pictures_taken_upright_are_upright(tmp_path: Path) -> None:
    fill(tmp_path / "im", {"b": 10}, height=5, width=6)
    (tmp_path / "im" / "a").mkdir()
    for i in range(10):
        turned = Image.Exif()
        turned[0x0112] = 6  # to be shown turned by 90 degrees
        picture(6, 5).save(tmp_path / "im" / "a" / f"{i}.jpg", exif=turned)
    assert load(tmp_path / "im", tmp_path / "d").shape == (3, 5, 6)


def test_bad_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    def refused(says: str, kind: type[Exception] = ValueError) -> None:
        with pytest.raises(kind, match=says) as caught:
            load(tmp_path / "im", tmp_path / "d")
        assert "\n" not in str(caught.value)

    refused(r"no folder .*im, which data.path names", FileNotFoundError)
    (tmp_path / "im").mkdir()
    refused("no class folders in", FileNotFoundError)
    fill(tmp_path / "im", {"a": 12})
    refused("has the single class 'a'")
    (tmp_path / "im" / "b").mkdir()
    refused(r"no images in .*im/b \(.png, .*put some there, or remove it")
    broken = tmp_path / "im" / "b" / "0.png"
    broken.write_bytes((tmp_path / "im" / "a" / "0.png").read_bytes()[:60])
    refused(r"b/0.png cannot be read as an image \(.*\); replace or remove it")
    broken.write_text("not at all")
    refused(r"b/0.png cannot be read as an image")
    Image.fromarray(RNG.integers(0, 60000, (6, 5), np.uint16)).save(broken)
    refused("more than 8 bits a channel")
    broken.write_bytes((tmp_path / "im" / "a" / "0.png").read_bytes())
    fill(tmp_path / "im" / "train", {"a": 2, "b": 2})
    fill(tmp_path / "im" / "test", {"a": 2, "c": 2})
    refused("class 'c' is in .*test and not in .*train")
    assert not [*(tmp_path / "d").rglob("*.npz")]


def rows_of(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def flat(path: Path, grey: int, count: int) -> None:
    """Images that are of one grey each."""
    file = io.BytesIO()
    Image.new("L", (4, 4), grey).save(file, "png")
    rows_of(path, [{"image": file.getvalue(), "label": i % 2} for i in range(count)])


def greys(data: Data) -> list[list[int]]:
    return [data.split(split).raw.unique().tolist() for split in ("train", "validation", "test")]  # type: ignore


def test_a_change_of_any_file_is_seen_though_names_are_the_same(tmp_path: Path) -> None:
    files = {split: f"{split}/data.parquet" for split in ("train", "validation", "test")}
    for grey, split in enumerate(files):
        flat(tmp_path / files[split], grey, 6)
    first = load(tmp_path, tmp_path / "d", "parquet", files=files)
    assert greys(first) == [[0], [1], [2]] and [*first.facts["files"]] == [*files.values()]
    flat(tmp_path / files["train"], 200, 6)
    second = load(tmp_path, tmp_path / "d", "parquet", files=files)
    assert greys(second) == [[200], [1], [2]] and second.checksum != first.checksum


def test_the_same_files_as_other_splits_are_other_data(tmp_path: Path) -> None:
    for grey, name in enumerate("abc"):
        flat(tmp_path / f"{name}.parquet", grey, 20)
    a, b, c = "a.parquet", "b.parquet", "c.parquet"

    def of(**files: Any) -> Data:
        return load(tmp_path, tmp_path / "d", "parquet", files=files)

    first = greys(of(train=[a, b], test=c))
    assert (first[0], first[2]) == ([0, 1], [2])
    moved = of(train=a, test=[b, c])
    assert greys(moved) == [[0], [0], [1, 2]]
    assert len(moved.test) == len(moved.test.labels) == len(moved.test.raw) == 40  # type: ignore[attr-defined]
    assert greys(of(train=[a, b], validation=c))[:2] == [[0, 1], [2]]


def test_folders_of_equal_names_sizes_and_times_are_told_apart(tmp_path: Path) -> None:
    for grey, name in enumerate(("one", "two")):
        for label in "ab":
            (tmp_path / name / label).mkdir(parents=True)
            for i in range(10):
                Image.new("L", (4, 4), grey).save(path := tmp_path / name / label / f"{i}.bmp")
                os.utime(path, (0, 0))
    found = [greys(load(tmp_path / name, tmp_path / "d")) for name in ("one", "two")]
    assert found == [[[0]] * 3, [[1]] * 3]


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    pixels = np.zeros((24, 4, 4), np.uint8)
    np.savez(tmp_path / "im.npz", x_train=pixels, y_train=pixels[:, 0, 0], x_test=pixels, y_test=pixels[:, 0, 0])
    with pytest.raises(ValueError, match="its file has the single class 0: nothing to predict"):
        load(tmp_path / "im.npz", tmp_path, "npz")
    flat(tmp_path / "p" / "one.parquet", 7, 1)
    with pytest.raises(ValueError, match=r"one.parquet has the single class 0: nothing to predict; .*options.label"):
        load(tmp_path / "p" / "one.parquet", tmp_path / "d", "parquet")


def test_parquet_holds_image_files_and_labels(tmp_path: Path) -> None:
    def png(image: Image.Image) -> bytes:
        file = io.BytesIO()
        image.save(file, "png")
        return file.getvalue()

    kept = [picture() for _ in range(20)]
    rows_of(tmp_path / "p" / "train.parquet", [{"pic": png(p), "kind": "xy"[i % 2]} for i, p in enumerate(kept)])
    data = load(tmp_path / "p" / "train.parquet", tmp_path / "d", "parquet", image="pic", label="kind")
    assert data.shape == (3, 6, 5) and data.facts["classes"] == ["x", "y"] and len(data.train) == 16
    rows_of(tmp_path / "p" / "other.parquet", [{"pic": png(p), "kind": "xy"[i % 2]} for i, p in enumerate(kept[:4])])
    files = {"train": "train.parquet", "test": "other.parquet"}
    named = load(tmp_path / "p", tmp_path / "d", "parquet", image="pic", label="kind", files=files)
    assert [len(named.split(split)) for split in ("train", "validation", "test")] == [18, 2, 4]
    with pytest.raises(ValueError, match="no column 'image', which data.options.image names; it has pic, kind"):
        load(tmp_path / "p" / "train.parquet", tmp_path / "d", "parquet")
    rows_of(tmp_path / "q.parquet", [{"image": "a path", "label": 1}])
    with pytest.raises(ValueError, match="a row of str in 'image'"):
        load(tmp_path / "q.parquet", tmp_path / "d", "parquet")
    rows_of(tmp_path / "r" / "train.parquet", [{"image": png(p), "label": i % 2} for i, p in enumerate(kept)])
    rows_of(tmp_path / "r" / "validation.parquet", [{"image": png(picture()), "label": 1}])
    rows_of(tmp_path / "r" / "test.parquet", [{"image": png(picture()), "label": -1}])
    with pytest.raises(ValueError, match="class -1 is in the test split and not in train"):
        load(tmp_path / "r", tmp_path / "d", "parquet")


def test_an_archive_has_no_options(tmp_path: Path) -> None:
    x, y = RNG.integers(0, 256, (24, 4, 4), np.uint8), np.arange(24) % 3
    np.savez(tmp_path / "im.npz", x_train=x, y_train=y, x_test=x[:3], y_test=y[:3])
    assert load(tmp_path / "im.npz", tmp_path, "npz").outputs == 3
    with pytest.raises(ValueError, match="data.options.size: unknown key"):
        load(tmp_path / "im.npz", tmp_path, "npz", size=4)
