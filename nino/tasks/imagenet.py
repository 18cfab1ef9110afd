"""ImageNet at 32 x 32 pixels: the official down-sampled batches, a folder of image files, or the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nino.files import sha256
from nino.seeding import derive
from nino.specs import DataSpec
from nino.specs.data_options import ImagenetOptions
from nino.tasks.archives import NOT_READABLE, cached_arrays, channels_first
from nino.tasks.data import Data, image_data
from nino.tasks.vision import ImageSizes, expect_source

SIDE = 32
BATCHES = (*(f"train_data_batch_{i}.npz" for i in range(1, 11)), "val_data.npz")
_HELD_BACK = ImagenetOptions.held_back
SIZES = ImageSizes((3, SIDE, SIDE), 1000, (1_281_167 - _HELD_BACK, _HELD_BACK, 50_000))
PIECE = 50_000  # images moved at a time

Pair = tuple[Tensor, Tensor]


def imagenet32(spec: DataSpec, data_dir: Path, download: bool = False) -> Data:
    """ImageNet (Russakovsky et al., 2015) at 3 x 32 x 32 (Chrabaszcz et al., 2017): 1,281,167 images of 1000 classes.

    The test split is ImageNet's validation part, 50,000 images. Some training images are held back for validation,
    drawn with a fixed seed. Classes are numbered as the source numbers them, so checksums differ between sources.

    Args:
        spec: source ``npz`` (a folder with the official ``train_data_batch_1.npz`` ... ``val_data.npz``), ``folder``
            (``train/<class>/`` and ``val/<class>/`` of image files of any size) or ``hub``; ``path`` names the folder,
            default ``imagenet32`` in ``data_dir``. Options ``held_back`` (images, default 10,000) and ``repository``
            (for ``hub``, default ``ILSVRC/imagenet-1k``: columns ``image`` and ``label``).
        data_dir: where resized images are kept.
        download: whether the hub may be asked.

    Returns:
        The data set, as many classes as there are.

    Raises:
        FileNotFoundError: where files are missing, or the hub refuses; says which belong where.
        ValueError: for another source or option, or files that hold something else.
    """
    expect_source(spec)
    options = ImagenetOptions.under("data.options", spec.options)
    folder = Path(spec.path) if spec.path else data_dir / spec.name
    facts: dict[str, Any] = {"source": spec.source}
    if spec.source == "npz":
        train, test, facts["files"] = read_batches(folder)
    elif spec.source == "folder":
        train, test = read_image_folder(folder, data_dir)
    else:
        facts["repository"] = options.repository
        train, test = read_hub(facts["repository"], data_dir, download)
    return _split(train, test, options.held_back, facts)


def _split(train: Pair, test: Pair, held_back: int, facts: dict[str, Any]) -> Data:
    """Hold back ``held_back`` random training images for validation."""
    x, y = train
    if not 0 < held_back < len(y):
        raise ValueError(f"data.options.held_back is {held_back}; there are {len(y)} training images to hold back from")
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(derive(0, "data")))
    rest, held = order[held_back:].sort().values, order[:held_back].sort().values
    classes = int(torch.cat([y, test[1]]).max()) + 1
    validation = x[held], y[held]
    return image_data((_keep(x, rest), y[rest]), validation, test, classes, facts | {"held_back": held_back})


def _keep(images: Tensor, rows: Tensor) -> Tensor:
    """Move ascending rows of images to the front, in place: a second copy of all images might not fit."""
    for first in range(0, len(rows), PIECE):
        part = rows[first : first + PIECE]
        images[first : first + len(part)] = images[part]  # no row lies before its new place
    return images[: len(rows)]


def read_batches(folder: Path) -> tuple[Pair, Pair, dict[str, str]]:
    """Read the official down-sampled batches.

    Each file holds ``data`` (n, 3072) uint8, red, green and blue planes of each image one after the other, and
    ``labels`` (n,), from 1.

    Args:
        folder: that holds them.

    Returns:
        Training and test images (n, 3, 32, 32) uint8 with labels (n,) long from 0, and each file's SHA-256.

    Raises:
        FileNotFoundError: names the files that are missing.
        ValueError: for arrays of another layout.
    """
    paths = [folder / name for name in BATCHES]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise FileNotFoundError(
            f"data 'imagenet32': no {', '.join(missing)} in {folder}; put the official 32 x 32 batches there "
            f"(image-net.org, 'Downsampled image data', after registration), or set data.path, or data.source to folder"
        )
    labels = [_read_labels(path) for path in paths[:-1]]
    images = torch.empty(sum(map(len, labels)), 3, SIDE, SIDE, dtype=torch.uint8)
    first = 0
    for path, batch_labels in zip(
        tqdm(paths[:-1], desc="reading ImageNet", unit="file", disable=None), labels, strict=True
    ):
        images[first : first + len(batch_labels)] = _read_batch(path)[0]  # one file beside the whole: 0.4 GB beside 4
        first += len(batch_labels)
    return (images, torch.cat(labels)), _read_batch(paths[-1]), {path.name: sha256(path) for path in paths}


def _read_labels(path: Path) -> Tensor:
    """The labels of a batch, counted from 0."""
    labels = _arrays(path, "labels")[0].ravel()  # `_read_batch` refuses other shapes
    if len(labels) and labels.min() < 1:
        raise ValueError(f"{path}: label {labels.min()}; labels of the official batches count from 1")
    return torch.from_numpy(labels.astype(np.int64) - 1)


def _arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    try:
        with np.load(path) as file:
            return [np.asarray(file[name]) for name in names]
    except NOT_READABLE as error:
        raise ValueError(f"{path}: not a batch of down-sampled ImageNet ({error})") from error


def _read_batch(path: Path) -> Pair:
    data, labels = _arrays(path, "data", "labels")
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIDE**2 or labels.shape != data.shape[:1]:
        raise ValueError(
            f"{path}: data {data.dtype}{data.shape} with labels {labels.shape}; expected uint8 (n, {3 * SIDE**2}), (n,)"
        )
    return torch.from_numpy(data).view(-1, 3, SIDE, SIDE), _read_labels(path)


def read_image_folder(folder: Path, data_dir: Path) -> tuple[Pair, Pair]:
    """Read ``train/<class>/`` and ``val/<class>/`` of image files; resized once, then kept in ``data_dir``.

    Args:
        folder: with the two parts; classes are numbered by their names' order.
        data_dir: where the resized images are kept, under a hash of names, sizes and times of the files.

    Returns:
        Training and test images with their labels.

    Raises:
        FileNotFoundError: where a part or its images are missing.
        ValueError: where the parts have different classes, or a file is no image.
    """
    files = {part: sorted(path for path in (folder / part).glob("*/*") if path.is_file()) for part in ("train", "val")}
    if empty := [part for part, paths in files.items() if not paths]:
        raise FileNotFoundError(f"data 'imagenet32': no images in {folder / empty[0]}/<class>/; set data.path")
    classes = {part: sorted({path.parent.name for path in paths}) for part, paths in files.items()}
    if classes["train"] != classes["val"]:
        differing = sorted(set(classes["train"]) ^ set(classes["val"]))
        raise ValueError(f"{folder}: class {differing[0]!r} is in one of train/ and val/ only")
    numbers = {name: i for i, name in enumerate(classes["train"])}
    listing = hashlib.sha256()
    for path in (*files["train"], *files["val"]):
        status = path.stat()
        listing.update(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n".encode())

    def part(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        labels = np.array([numbers[path.parent.name] for path in files[name]])
        return shrink(files[name], len(labels), _open), labels

    return _cached(data_dir, listing.hexdigest(), part)


def read_hub(repository: str, data_dir: Path, download: bool) -> tuple[Pair, Pair]:
    """Read a data set of the hub with the splits ``train`` and ``validation``; resized once, then kept.

    Args:
        repository: its name.
        data_dir: where the resized images are kept.
        download: whether the hub may be asked.

    Returns:
        Training and test images with their labels.

    Raises:
        FileNotFoundError: where it is not kept and may not be fetched, or the hub refuses; says how to get access.
    """
    key = hashlib.sha256(repository.encode()).hexdigest()

    def part(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        if not download:
            raise FileNotFoundError(
                f"data 'imagenet32': {repository} is not in {data_dir}; run `nino data` with network access, or set "
                f"data.source to npz or folder"
            )
        import datasets

        try:
            rows = datasets.load_dataset(repository, split={"val": "validation"}.get(name, name))
        except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
            raise FileNotFoundError(
                f"data 'imagenet32': could not fetch {repository}: {error}. It is gated: accept its terms on its page, "
                f"make a token, `hf auth login`; or set data.source to npz or folder"
            ) from error
        return shrink((row["image"] for row in rows), len(rows), lambda image: image), np.array(rows["label"])

    return _cached(data_dir, key, part)


def _cached(
    data_dir: Path, key: str, part: Callable[[str], tuple[NDArray[np.uint8], NDArray[np.int64]]]
) -> tuple[Pair, Pair]:
    """The two parts from the cache, or from ``part`` and then cached."""

    def make() -> dict[str, NDArray[Any]]:
        (x_train, y_train), (x_test, y_test) = part("train"), part("val")
        return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}

    arrays = cached_arrays(data_dir / "decoded" / f"imagenet32-{key[:16]}.npz", make)
    pairs = [(channels_first(arrays[f"x_{name}"]), torch.from_numpy(arrays[f"y_{name}"])) for name in ("train", "test")]
    return pairs[0], pairs[1]


def shrink(items: Iterable[Any], count: int, open_image: Callable[[Any], Any]) -> NDArray[np.uint8]:
    """Resize images to 32 x 32 with a box filter, whatever their shape, as the official batches were made.

    Args:
        items: what ``open_image`` opens.
        count: how many they are.
        open_image: gives a Pillow image.

    Returns:
        (count, 32, 32, 3) uint8, RGB.
    """
    from PIL import Image

    out = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for i, item in enumerate(tqdm(items, total=count, desc="resizing images", unit="image", disable=None)):
        out[i] = np.asarray(open_image(item).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))
    return out


def _open(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not an image file ({error})") from error
