import gzip
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from nino.specs import DataSpec
from nino.tasks import DATASETS, load_task, vision
from nino.tasks.vision import stratified


def arrays(
    train: int = 48, test: int = 12, *, size: int = 6, channels: int = 1, seed: int = 0
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (size, size) if channels == 1 else (size, size, channels)
    return {
        "x_train": rng.integers(0, 256, (train, *shape), dtype=np.uint8),
        "y_train": rng.permutation(np.arange(train) % 10),
        "x_test": rng.integers(0, 256, (test, *shape), dtype=np.uint8),
        "y_test": rng.permutation(np.arange(test) % 10),
    }


def load(name: str, tmp_path: Path, source: str = "npz", **spec):
    return DATASETS[name](DataSpec(name, source, **spec), tmp_path, False)


def all_rows(data) -> list[bytes]:
    return [row.numpy().tobytes() for split in (data.train, data.validation, data.test) for row in split.raw]


def test_digits_are_all_there_once_and_stratified(digits):
    data = digits.data
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [1078, 180, 539]
    assert len(all_rows(data)) == 1797
    classes = torch.cat([data.split(s).labels for s in ("train", "validation", "test")]).bincount()
    for split, share in (("train", 0.6), ("validation", 0.1), ("test", 0.3)):
        assert (data.split(split).labels.bincount() - share * classes).abs().max() <= 1


def test_digits_split_is_fixed(digits):
    assert digits.data_checksum == "a098830af9219b1a1a548a3e0589638a07a17b9da89c87e595aeb30af2748e67"


def test_stratified_parts_are_disjoint_and_complete():
    labels = torch.randint(0, 5, (97,), generator=torch.Generator().manual_seed(0))
    parts = stratified(labels, (0.5, 0.2, 0.3), seed=3)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(97))
    assert all(torch.equal(a, b) for a, b in zip(parts, stratified(labels, (0.5, 0.2, 0.3), seed=3), strict=True))


def test_npz_keeps_the_order_and_holds_back_the_last_twelfth(tmp_path):
    file = arrays()
    np.savez(tmp_path / "fashion-mnist.npz", **file)
    data = load("fashion-mnist", tmp_path)
    assert torch.equal(data.train.raw[:, 0], torch.from_numpy(file["x_train"][:44]))
    assert torch.equal(data.validation.raw[:, 0], torch.from_numpy(file["x_train"][44:]))
    assert torch.equal(data.test.labels, torch.from_numpy(file["y_test"]))
    assert data.shape == (1, 6, 6) and data.outputs == 10 and data.facts["shuffled"] is False
    assert len(data.facts["files"]["fashion-mnist.npz"]) == 64


def test_training_images_sorted_by_class_are_shuffled_the_same_way_every_time(tmp_path):
    file = arrays(train=120)
    file["y_train"] = np.sort(file["y_train"])
    np.savez(tmp_path / "cifar10.npz", **file)
    data = load("cifar10", tmp_path)
    assert data.facts["shuffled"] is True
    assert len(data.validation.labels.unique()) > 3
    assert data.checksum == load("cifar10", tmp_path).checksum
    pairs = {
        x.numpy().tobytes(): int(y) for s in (data.train, data.validation) for x, y in zip(s.raw, s.labels, strict=True)
    }
    assert pairs == {x.tobytes(): y for x, y in zip(file["x_train"], file["y_train"], strict=True)}


def jpeg_pack(path: Path, splits: dict[str, int]) -> None:
    from PIL import Image

    pack = {}
    for split, n in splits.items():
        files = []
        for i in range(n):
            buffer = io.BytesIO()
            Image.new("RGB", (8, 8), (3 * i, 255 - 3 * i, 7)).save(buffer, "JPEG", quality=95)
            files.append(buffer.getvalue())
        pack[f"jpeg_{split}"] = np.frombuffer(b"".join(files), np.uint8)
        pack[f"off_{split}"] = np.cumsum([0, *map(len, files)])
        pack[f"y_{split}"] = np.arange(n) % 10
    np.savez(path, **pack)


@pytest.mark.parametrize("test_split", ["test", "val"])
def test_a_jpeg_pack_is_decoded_once(tmp_path, monkeypatch, test_split):
    jpeg_pack(tmp_path / "pack.npz", {"train": 24, test_split: 12})
    data = load("images", tmp_path, path=str(tmp_path / "pack.npz"))
    assert len(data.test) == 12 and data.shape == (3, 8, 8) and data.outputs == 10
    colours = data.test.raw.float().mean((2, 3))
    expected = torch.tensor([[3.0 * i, 255 - 3 * i, 7] for i in range(12)])
    assert (colours - expected).abs().max() < 3  # JPEG
    import nino.tasks.archives

    monkeypatch.setattr(nino.tasks.archives, "decode_jpegs", None)
    assert load("images", tmp_path, path=str(tmp_path / "pack.npz")).checksum == data.checksum


def write_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes())


def test_idx_files_give_the_same_data_as_npz(tmp_path):
    file = arrays(size=28)
    folder = tmp_path / "FashionMNIST" / "raw"
    for split, part in (("train", "train"), ("t10k", "test")):
        write_idx(folder / f"{split}-images-idx3-ubyte", file[f"x_{part}"])
        write_idx(folder / f"{split}-labels-idx1-ubyte", file[f"y_{part}"].astype(np.uint8))
    np.savez(tmp_path / "fashion-mnist.npz", **file)
    through_torchvision = load("fashion-mnist", tmp_path, "torchvision")
    assert through_torchvision.checksum == load("fashion-mnist", tmp_path).checksum
    assert through_torchvision.facts["source"] == "torchvision"


@pytest.mark.parametrize(
    ("name", "folder", "key"),
    [("cifar10", "cifar-10-batches-py", "labels"), ("cifar100", "cifar-100-python", "fine_labels")],
)
def test_cifar_batches_give_the_same_data_as_npz(tmp_path, monkeypatch, name, folder, key):
    from nino.tasks.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import torchvision.datasets.cifar

    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)  # generated, not the real bytes
    file = arrays(train=50, test=10, size=32, channels=3)
    train_files = [f"data_batch_{i}" for i in range(1, 6)] if name == "cifar10" else ["train"]
    parts = np.array_split(np.arange(50), len(train_files))
    (tmp_path / folder).mkdir()
    for batch, x, y in [
        *((f, file["x_train"][p], file["y_train"][p]) for f, p in zip(train_files, parts, strict=True)),
        ("test_batch" if name == "cifar10" else "test", file["x_test"], file["y_test"]),
    ]:
        rows = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
        (tmp_path / folder / batch).write_bytes(pickle.dumps({"data": rows, key: y.tolist()}))
    meta = {"label_names": [], "fine_label_names": []}
    (tmp_path / folder / ("batches.meta" if name == "cifar10" else "meta")).write_bytes(pickle.dumps(meta))
    np.savez(tmp_path / f"{name}.npz", **file)
    assert load(name, tmp_path, "torchvision").checksum == load(name, tmp_path).checksum


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("fashion-mnist", "train-images-idx3-ubyte.*FashionMNIST/raw"),
        ("cifar10", "data_batch_1.*cifar-10-batches-py"),
        ("cifar100", "train.*cifar-100-python"),
    ],
)
def test_without_files_the_error_says_what_belongs_where(tmp_path, name, where):
    with pytest.raises(FileNotFoundError, match=f"(?s){name}.*nino data.*{where}"):
        load(name, tmp_path, "torchvision")
    with pytest.raises(FileNotFoundError, match=f"no file .*{name}.npz; put an .npz there .*x_train"):
        load(name, tmp_path)


def test_bad_archives_are_refused_by_name(tmp_path):
    path = tmp_path / "images.npz"
    file = arrays()
    np.savez(path, **{k: v for k, v in file.items() if k != "y_test"})
    with pytest.raises(ValueError, match=r"images.npz: no array 'y_test', found x_train, y_train, x_test"):
        load("images", tmp_path)
    np.savez(path, **(file | {"x_test": file["x_test"].astype(float)}))
    with pytest.raises(ValueError, match=r"images.npz: images float64\(12, 6, 6\)"):
        load("images", tmp_path)
    np.savez(path, **(file | {"y_test": file["y_test"][:5]}))
    with pytest.raises(ValueError, match=r"labels int64\(5,\)"):
        load("images", tmp_path)
    path.write_bytes(gzip.compress(b"not an archive"))
    with pytest.raises(ValueError, match="images.npz: not a readable .npz file"):
        load("images", tmp_path)
    jpeg_pack(path, {"train": 12})
    with pytest.raises(ValueError, match="no array 'jpeg_val'"):
        load("images", tmp_path)


def test_labels_beyond_the_classes_are_refused(tmp_path):
    np.savez(tmp_path / "cifar10.npz", **(arrays() | {"y_test": np.full(12, 10)}))
    with pytest.raises(ValueError, match="label 10 where there are 10 classes"):
        load("cifar10", tmp_path)


def test_wrong_sources_and_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match="data.source is 'hub', but 'digits' comes from: embedded"):
        load("digits", tmp_path, "hub")
    with pytest.raises(ValueError, match="'images' comes from: npz"):
        load("images", tmp_path, "torchvision")
    with pytest.raises(ValueError, match="data.options.block: unknown key"):
        load("digits", tmp_path, "embedded", options={"block": 3})


def test_fashion_mnist_from_the_reference_file(shared, tmp_path, make_vision):
    task = load_task(
        make_vision(DataSpec("fashion-mnist", "npz", str(shared / "data" / "fashion_mnist.npz"))), tmp_path
    )
    assert [len(task.data.split(s)) for s in ("train", "validation", "test")] == [55_000, 5_000, 10_000]
    assert torch.equal(task.data.test.labels.bincount(), torch.full((10,), 1000))
    assert task.steps_per_epoch == 429
    # the statistics everyone uses, of all 60,000, are 0.2860 and 0.3530
    assert task.data.facts["mean"][0] / 255 == pytest.approx(0.2860, abs=1e-3)
    assert task.data.facts["std"][0] / 255 == pytest.approx(0.3530, abs=1e-3)


def test_digits_are_scikit_learns(digits):
    from sklearn.datasets import load_digits

    table = vision._digits_table()
    images, labels = load_digits(return_X_y=True)
    assert (table[:, :-1] == images).all() and (table[:, -1] == labels).all()


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    monkeypatch.setattr(vision, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install"):
        vision._digits_table()
