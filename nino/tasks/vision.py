"""Vision data sets: one function each, registered in ``nino.tasks.registry``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nino.files import sha256
from nino.seeding import derive
from nino.specs import DataSpec
from nino.specs.data_options import SOURCES, NoOptions
from nino.tasks.archives import LAYOUTS, ImageArrays, channels_first, read_archive
from nino.tasks.data import Data, image_data
from nino.tasks.torchvision_ops import declare_missing_operators


def digits(spec: DataSpec, data_dir: Path, download: bool = False) -> Data:
    """The 1,797 real handwritten digits of 8 x 8 pixels that ship with scikit-learn (UCI Optical Recognition, 1998).

    A fixed split, stratified by class: 60 % train, 10 % validation, 30 % test.

    Args:
        spec: source ``embedded``.
        data_dir: unused, nothing is stored.
        download: unused, nothing is downloaded.

    Returns:
        Images of 1 x 8 x 8, 10 classes.
    """
    expect_source(spec)
    NoOptions.under("data.options", spec.options)
    table = _digits_table()
    pixels = torch.from_numpy(table[:, :-1].reshape(-1, 1, 8, 8).astype(np.uint8))
    labels = torch.from_numpy(table[:, -1].astype(np.int64))
    parts = stratified(labels, (0.6, 0.1, 0.3), seed=0)
    train, validation, test = [(pixels[i], labels[i]) for i in parts]
    return image_data(train, validation, test, 10, {"source": "scikit-learn load_digits"})


def _digits_table() -> np.ndarray:
    """The table (1797, 65) behind scikit-learn's ``load_digits``: 64 pixels of 0 to 16, then the class.

    Read from the installed package without importing it: that takes longer than a whole training on these images.

    Raises:
        FileNotFoundError: where scikit-learn is not installed.
    """
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError(
            "the data set 'digits' ships with scikit-learn, which is not installed: "
            "pip install 'nino-nowcast[benchmark]'"
        )
    path = Path(package.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    return np.loadtxt(path, delimiter=",", dtype=np.int16)


class ImageSizes(NamedTuple):
    """The sizes of a published image set: (channels, height, width), classes, examples of train, validation, test."""

    shape: tuple[int, int, int]
    classes: int
    examples: tuple[int, int, int]


def held_back(count: int) -> int:
    """How many of the last training images are the validation split: a twelfth of them."""
    return count // 12


def _with_validation(shape: tuple[int, int, int], classes: int, train: int, test: int) -> ImageSizes:
    return ImageSizes(shape, classes, (train - held_back(train), held_back(train), test))


class TorchvisionSet(NamedTuple):
    """A class of ``torchvision.datasets``, the files it reads, relative to the data folder, and its sizes."""

    name: str
    folder: str
    files: tuple[str, ...]
    sizes: ImageSizes


_IDX_FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
# Fashion-MNIST (Xiao et al., 2017), CIFAR-10 and CIFAR-100 (Krizhevsky, 2009).
TORCHVISION = {
    "fashion-mnist": TorchvisionSet(
        "FashionMNIST", "FashionMNIST/raw", _IDX_FILES, _with_validation((1, 28, 28), 10, 60_000, 10_000)
    ),
    "cifar10": TorchvisionSet(
        "CIFAR10", "cifar-10-batches-py", _BATCHES, _with_validation((3, 32, 32), 10, 50_000, 10_000)
    ),
    "cifar100": TorchvisionSet(
        "CIFAR100",
        "cifar-100-python",
        ("train", "test", "meta"),
        _with_validation((3, 32, 32), 100, 50_000, 10_000),
    ),
}


def train_and_test_images(spec: DataSpec, data_dir: Path, download: bool = False) -> Data:
    """A data set of training and test images; the last 1/12 of the training images is the validation split.

    Training images that come sorted by class are shuffled with a fixed seed first, and the facts say so.

    Args:
        spec: source ``torchvision`` or ``npz``; ``path`` names the ``.npz`` file (default ``<name>.npz`` in
            ``data_dir``).
        data_dir: where torchvision's files and decoded images are.
        download: whether torchvision may download.

    Returns:
        The data set; its checksum does not depend on the source. One that is not in ``TORCHVISION`` has as many classes
        as the largest label plus 1.

    Raises:
        FileNotFoundError: where files are missing; says which belong where.
        ValueError: for another source, or files that hold something else.
    """
    expect_source(spec)
    NoOptions.under("data.options", spec.options)
    torchvision_set = TORCHVISION.get(spec.name)
    facts: dict[str, Any] = {"source": spec.source}
    if torchvision_set and spec.source == "torchvision":
        arrays = read_torchvision(spec.name, torchvision_set, data_dir, download)
    else:
        path = Path(spec.path) if spec.path else data_dir / f"{spec.name}.npz"
        if not path.is_file():
            fetched = ", or data.source to torchvision, which fetches it" if torchvision_set else ""
            raise FileNotFoundError(
                f"data {spec.name!r}: no file {path}; put an .npz there ({LAYOUTS}), set data.path{fetched}"
            )
        facts["files"] = {path.name: sha256(path)}
        arrays = read_archive(path, data_dir)
    x, y = arrays.train
    largest = int(torch.cat([y, arrays.test[1]]).max())
    classes = torchvision_set.sizes.classes if torchvision_set else largest + 1
    if largest >= classes:
        raise ValueError(f"data {spec.name!r}: label {largest} where there are {classes} classes: is it this data set?")
    facts["shuffled"] = bool((y.diff() >= 0).all())  # sorted by class: the last 1/12 would be one class alone
    if facts["shuffled"]:
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(derive(0, "data")))
        x, y = x[order], y[order]
    first_held = len(y) - held_back(len(y))
    train, validation = (x[:first_held], y[:first_held]), (x[first_held:], y[first_held:])
    return image_data(train, validation, arrays.test, classes, facts)


def read_torchvision(name: str, torchvision_set: TorchvisionSet, data_dir: Path, download: bool) -> ImageArrays:
    """Read a data set through torchvision, which downloads it if it may.

    Raises:
        FileNotFoundError: where its files are neither there nor could be downloaded.
    """
    declare_missing_operators()
    from torchvision import datasets

    make = getattr(datasets, torchvision_set.name)
    try:
        parts = [make(str(data_dir), train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise FileNotFoundError(
            f"data {name!r} is not (whole) in {data_dir}: run `nino data` with network access, or put "
            f"{', '.join(torchvision_set.files)} into {data_dir / torchvision_set.folder}, or set data.source to npz "
            f"and data.path to a local file ({error})"
        ) from error
    pairs = [(channels_first(np.asarray(p.data)), torch.as_tensor(p.targets, dtype=torch.long)) for p in parts]
    return ImageArrays(*pairs)


def stratified(labels: Tensor, fractions: tuple[float, ...], seed: int) -> list[Tensor]:
    """Split indices so that every part holds (nearly) the same share of every class.

    Args:
        labels: (n,) long.
        fractions: shares of the parts, summing to 1.
        seed: of the shuffle inside each class.

    Returns:
        One sorted (n_i,) long tensor of indices a part; together every index once.

    >>> [len(part) for part in stratified(torch.tensor([0, 1] * 10), (0.6, 0.1, 0.3), seed=0)]
    [12, 2, 6]
    """
    generator = torch.Generator().manual_seed(derive(seed, "data"))
    parts: list[list[Tensor]] = [[] for _ in fractions]
    bounds = np.concatenate([[0.0], np.cumsum(fractions)])
    bounds[-1] = 1.0
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        cuts = [round(float(b) * len(members)) for b in bounds]
        for part, start, stop in zip(parts, cuts[:-1], cuts[1:], strict=True):
            part.append(members[start:stop])
    return [torch.cat(part).sort().values for part in parts]


def expect_source(spec: DataSpec) -> None:
    """Raise a ``ValueError`` unless the data set can come from ``spec.source``."""
    allowed = SOURCES[spec.name]
    if spec.source not in allowed:
        raise ValueError(f"data.source is {spec.source!r}, but {spec.name!r} comes from: {', '.join(allowed)}")
