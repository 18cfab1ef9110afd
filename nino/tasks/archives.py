"""Images from local ``.npz`` files: plain uint8 arrays, or packs of JPEG files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nino.files import replacing, sha256

LAYOUTS = (
    "uint8 arrays x_train, y_train, x_test, y_test, "
    "or a JPEG pack jpeg_<split>, off_<split>, y_<split> of the splits train and test (or val)"
)


class ImageArrays(NamedTuple):
    """A training and a test set: images (n, channels, height, width) uint8, labels (n,) long."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def read_archive(path: Path, data_dir: Path) -> ImageArrays:
    """Read the images of an ``.npz`` file.

    The file holds uint8 arrays ``x_train`` (n, height, width[, channels]), ``y_train`` (n,), ``x_test`` and
    ``y_test``; or JPEG files: ``jpeg_<split>`` (bytes of all files), ``off_<split>`` (n + 1 offsets) and ``y_<split>``
    for the splits ``train`` and ``test`` or ``val``. JPEGs are decoded once and kept in ``data_dir``.

    Args:
        path: the file.
        data_dir: where decoded images are kept.

    Returns:
        The two sets as they are in the file, order included.

    Raises:
        ValueError: for a file of another layout, or arrays that do not fit each other.
    """
    try:
        with np.load(path) as archive:
            packed = "jpeg_train" in archive
            # members are read when asked for: a pack's pixels are needed only once
            arrays = {} if packed else {key: archive[key] for key in archive.files}
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: not a readable .npz file ({error}); expected {LAYOUTS}") from error
    if packed:
        arrays = _decoded(path, data_dir)
    missing = [key for key in ("x_train", "y_train", "x_test", "y_test") if key not in arrays]
    if missing:
        raise ValueError(f"{path}: no array {missing[0]!r}, found {', '.join(arrays) or 'none'}; expected {LAYOUTS}")
    return ImageArrays(*(_pair(path, arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in ("train", "test")))


def channels_first(images: NDArray[Any]) -> Tensor:
    """(n, height, width) or (n, height, width, channels) uint8 as (n, channels, height, width).

    >>> channels_first(np.zeros((5, 8, 9, 3), np.uint8)).shape, channels_first(np.zeros((5, 8, 9), np.uint8)).shape
    (torch.Size([5, 3, 8, 9]), torch.Size([5, 1, 8, 9]))
    """
    tensor = torch.from_numpy(images)
    return tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous()


def _pair(path: Path, images: NDArray[Any], labels: NDArray[Any]) -> tuple[Tensor, Tensor]:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{path}: images {images.dtype}{images.shape} with labels {labels.dtype}{labels.shape}; "
            f"expected uint8 (n, height, width[, channels]) and (n,)"
        )
    return channels_first(images), torch.from_numpy(labels.astype(np.int64))


def _decoded(path: Path, data_dir: Path) -> dict[str, NDArray[Any]]:
    """The decoded arrays of a JPEG pack."""

    def decode() -> dict[str, NDArray[Any]]:
        arrays = {}
        with np.load(path) as pack:
            for name, split in (("train", "train"), ("test", "test" if "jpeg_test" in pack else "val")):
                absent = [key for key in (f"jpeg_{split}", f"off_{split}", f"y_{split}") if key not in pack]
                if absent:
                    raise ValueError(f"{path}: no array {absent[0]!r}; expected {LAYOUTS}")
                arrays[f"x_{name}"] = decode_jpegs(pack[f"jpeg_{split}"], pack[f"off_{split}"])
                arrays[f"y_{name}"] = pack[f"y_{split}"]
        return arrays

    return cached_arrays(data_dir / "decoded" / f"{path.stem}-{sha256(path)[:16]}.npz", decode)


def cached_arrays(cache: Path, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file, which is made first, whole or not at all, where it does not exist."""
    if not cache.exists():
        arrays = make()
        with replacing(cache) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    with np.load(cache) as archive:
        return {key: archive[key] for key in archive.files}


def decode_jpegs(data: NDArray[np.uint8], offsets: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Decode concatenated JPEG files of equal size.

    Args:
        data: bytes of all files, one after the other.
        offsets: (n + 1,), where file i starts and, in i + 1, ends.

    Returns:
        (n, height, width, 3) uint8, RGB.
    """
    from PIL import Image

    bounds = zip(offsets[:-1], offsets[1:], strict=True)
    files = (data[start:stop].tobytes() for start, stop in bounds)
    progress = tqdm(files, total=len(offsets) - 1, desc="decoding JPEGs", unit="image", disable=None)
    return np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in progress])
