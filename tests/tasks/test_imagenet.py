import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from nino.specs import DataSpec
from nino.tasks import DATASETS
from nino.tasks.imagenet import BATCHES, shrink


def load(tmp_path, source: str = "npz", **spec):
    return DATASETS["imagenet32"](DataSpec("imagenet32", source, **spec), tmp_path / "data", False)


@pytest.fixture
def batches(tmp_path):
    """Files in the official layout, three images each: (folder, all images, all labels from 1)."""
    folder = tmp_path / "official"
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(BATCHES), 3, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(1, 6, (len(BATCHES), 3))
    labels[0, 0] = 5
    for name, x, y in zip(BATCHES, images, labels, strict=True):
        np.savez(folder / name, data=x.reshape(3, -1), labels=y, mean=x.reshape(3, -1).mean(0))
    return folder, images, labels


@pytest.fixture
def folder(tmp_path):
    """Image files of several shapes and modes, by class."""
    rng = np.random.default_rng(1)
    for part, count in (("train", 4), ("val", 2)):
        for name in ("n01", "n02"):
            (tmp_path / "files" / part / name).mkdir(parents=True)
            for i in range(count):
                shape = (48, 64, 3) if i % 2 else (40, 32)
                pixels = rng.integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "files" / part / name / f"{i}.png")
    return tmp_path / "files"


def test_official_batches_are_read_plane_by_plane(tmp_path, batches):
    folder, images, labels = batches
    data = load(tmp_path, path=str(folder), options={"held_back": 4})
    assert data.outputs == 5
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [26, 4, 3]
    assert torch.equal(data.test.raw, torch.from_numpy(images[-1]))
    assert torch.equal(data.test.labels, torch.from_numpy(labels[-1] - 1))
    seen = [*data.train.raw, *data.validation.raw]
    pairs = zip(images[:-1].reshape(-1, 3, 32, 32), labels[:-1].flatten(), strict=True)
    expected = {x.tobytes(): int(y) - 1 for x, y in pairs}
    seen_labels = [*data.train.labels.tolist(), *data.validation.labels.tolist()]
    assert {x.numpy().tobytes(): y for x, y in zip(seen, seen_labels, strict=True)} == expected
    assert data.checksum == load(tmp_path, path=str(folder), options={"held_back": 4}).checksum


def test_no_second_whole_is_made(tmp_path, batches, monkeypatch):
    """The images fill one array, in which those that are trained on are moved together."""
    plain = load(tmp_path, path=str(batches[0]), options={"held_back": 4})
    monkeypatch.setattr("nino.tasks.imagenet.PIECE", 3)
    monkeypatch.setattr(torch, "cat", lambda parts: pytest.fail("joined") if parts[0].ndim > 1 else _cat(parts))
    data = load(tmp_path, path=str(batches[0]), options={"held_back": 4})
    assert data.checksum == plain.checksum
    assert data.train.raw.untyped_storage().nbytes() == 30 * 3 * 32 * 32, "a part of what was read"


_cat = torch.cat


@pytest.fixture
def hub(monkeypatch):
    """A hub with one data set; notes what it was asked for."""
    rng = np.random.default_rng(2)
    asked = []

    def pictures(count: int) -> list[dict]:
        pixels = rng.integers(0, 256, (count, 48, 40, 3), dtype=np.uint8)
        return [{"image": Image.fromarray(x), "label": i % 2} for i, x in enumerate(pixels)]

    splits = {"train": pictures(6), "validation": pictures(4)}

    class Rows(list):
        def __getitem__(self, key):
            return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)

    def load_dataset(repository: str, split: str) -> Rows:
        asked.append((repository, split))
        if repository == "gated/images":
            raise datasets.exceptions.DatasetNotFoundError("it is gated")
        return Rows(splits[split])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return splits, asked


def test_the_hub_is_asked_once_and_its_images_resized(tmp_path, hub):
    splits, asked = hub
    spec = DataSpec("imagenet32", "hub", options={"held_back": 2, "repository": "own/images"})
    data = DATASETS["imagenet32"](spec, tmp_path, True)
    assert asked == [("own/images", "train"), ("own/images", "validation")]
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [4, 2, 4]
    assert data.test.labels.tolist() == [0, 1, 0, 1] and data.outputs == 2
    expected = np.asarray(splits["validation"][3]["image"].resize((32, 32), Image.Resampling.BOX))
    assert np.array_equal(data.test.raw[3].permute(1, 2, 0).numpy(), expected)
    assert DATASETS["imagenet32"](spec, tmp_path, False).checksum == data.checksum and len(asked) == 2


def test_a_gated_data_set_says_how_to_get_it(tmp_path, hub):
    spec = DataSpec("imagenet32", "hub", options={"repository": "gated/images"})
    with pytest.raises(FileNotFoundError, match="could not fetch gated/images: it is gated.*accept its terms"):
        DATASETS["imagenet32"](spec, tmp_path, True)
    assert not list(tmp_path.rglob("*.npz"))


def test_missing_batches_are_named(tmp_path, batches):
    (batches[0] / "train_data_batch_7.npz").unlink()
    with pytest.raises(FileNotFoundError, match="no train_data_batch_7.npz in .*official.*image-net.org"):
        load(tmp_path, path=str(batches[0]))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"data": np.zeros((3, 10), np.uint8), "labels": np.ones(3, int)},
            r"uint8\(3, 10\).* uint8 \(n, 3072\)",
        ),
        ({"data": np.zeros((3, 3072), np.uint8), "labels": np.zeros(3, int)}, "label 0; .* count from 1"),
        ({"labels": np.ones(3, int)}, "not a batch of down-sampled ImageNet"),
    ],
)
def test_foreign_batches_are_refused(tmp_path, batches, arrays, message):
    np.savez(batches[0] / "train_data_batch_2.npz", **arrays)
    with pytest.raises(ValueError, match=f"train_data_batch_2.npz.*{message}"):
        load(tmp_path, path=str(batches[0]))


def test_a_folder_is_resized_with_a_box_filter_and_cached(tmp_path, folder, monkeypatch):
    data = load(tmp_path, "folder", path=str(folder), options={"held_back": 2})
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [6, 2, 4]
    with Image.open(folder / "val" / "n02" / "1.png") as image:
        expected = np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BOX))
    assert np.array_equal(data.test.raw[3].permute(1, 2, 0).numpy(), expected)
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    monkeypatch.setattr("nino.tasks.imagenet.shrink", None)  # would fail if called
    assert load(tmp_path, "folder", path=str(folder), options={"held_back": 2}).checksum == data.checksum


def test_a_box_filter_averages_equal_areas():
    blocks = np.zeros((64, 64, 3), np.uint8)
    blocks[::2] = 200
    assert (shrink([blocks], 1, Image.fromarray) == 100).all()


def test_a_changed_folder_is_read_anew(tmp_path, folder):
    before = load(tmp_path, "folder", path=str(folder), options={"held_back": 2}).checksum
    Image.new("RGB", (32, 32), (255, 0, 0)).save(folder / "train" / "n01" / "0.png")
    assert load(tmp_path, "folder", path=str(folder), options={"held_back": 2}).checksum != before


def test_a_folder_that_cannot_be_used_is_refused(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="no images in .*nowhere/train/<class>/"):
        load(tmp_path, "folder", path=str(tmp_path / "nowhere"))
    (folder / "val" / "n01").rename(folder / "val" / "n03")
    with pytest.raises(ValueError, match="class 'n01' is in one of train/ and val/ only"):
        load(tmp_path, "folder", path=str(folder))
    (folder / "val" / "n03").rename(folder / "val" / "n01")
    (folder / "val" / "n01" / "9.png").write_text("no image")
    with pytest.raises(ValueError, match=r"9.png: not an image file"):
        load(tmp_path, "folder", path=str(folder))


def test_other_requests_are_refused(tmp_path, batches):
    with pytest.raises(FileNotFoundError, match="ILSVRC/imagenet-1k is not in .*run `nino data`"):
        load(tmp_path, "hub")
    with pytest.raises(ValueError, match="comes from: npz, folder, hub"):
        load(tmp_path, "torchvision")
    with pytest.raises(ValueError, match="data.options.crop: unknown key"):
        load(tmp_path, options={"crop": 1})
    with pytest.raises(ValueError, match="held_back is 10000; there are 30 training images"):
        load(tmp_path, path=str(batches[0]))


def test_the_tiny_imagenet_pack_is_read_as_images(tmp_path, shared):
    path = shared / "data" / "tinyimagenet_32px_jpeg.npz"
    with np.load(path) as pack:
        few = {k: pack[k] for k in pack.files}
    for split in ("train", "val"):
        few[f"off_{split}"] = few[f"off_{split}"][:25]
        few[f"y_{split}"] = few[f"y_{split}"][:24]
    np.savez(tmp_path / "few.npz", **few)
    data = DATASETS["images"](DataSpec("images", "npz", path=str(tmp_path / "few.npz")), tmp_path, False)
    assert data.shape == (3, 32, 32)
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [22, 2, 24]
