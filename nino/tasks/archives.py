"""Images from local ``.npz`` files: plain uint8 arrays, or packs of JPEG files."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nino.files import replacing, sha256
from nino.leases import lease, sweep

# Damage to an archive, wherever in it: NumPy reads headers, zipfile checks each member's CRC, zlib unpacks.
NOT_READABLE = (ValueError, OSError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)
DIGEST = "sha256"  # member of a cache that we wrote
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
        with path.open("rb") as file, np.load(file) as archive:
            packed = "jpeg_train" in archive
            # members are read when asked for: a pack's pixels are needed only once
            arrays = {} if packed else {key: archive[key] for key in archive.files}
    except NOT_READABLE as error:
        raise ValueError(f"{path}: not a readable .npz file ({error}); expected {LAYOUTS}") from error
    if packed:
        try:
            arrays = _decoded(path, data_dir)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{path}: damaged ({error}): copy it again") from error
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
    """The arrays of an ``.npz`` file, which is made first, whole or not at all, where it does not exist.

    Where another process makes it, on whatever machine, it is waited for.

    Raises:
        ValueError: for a file with other arrays than were written; says what to do.
    """
    if not cache.exists():
        with lease(cache, wait=True):
            if not cache.exists():
                arrays = make()
                sweep(cache.parent, cache.name)
                with replacing(cache) as temporary, temporary.open("wb") as file:
                    np.savez(file, allow_pickle=False, **arrays, **{DIGEST: np.array(arrays_digest(arrays))})
    reason = "its arrays are not those that were written"
    try:
        with cache.open("rb") as content, np.load(content) as archive:  # NumPy leaves open what it cannot read
            arrays = {key: archive[key] for key in archive.files}
        written = arrays.pop(DIGEST, None)  # caches of earlier versions have none: zip's CRCs must do
        if written is None or str(written) == arrays_digest(arrays):
            return arrays
    except PermissionError:
        raise
    except NOT_READABLE as error:
        reason = str(error)
    raise ValueError(f"{cache}: damaged image cache ({reason}): delete it and run the same command again")


def arrays_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names, dtypes, shapes and values, in hexadecimal.

    >>> arrays_digest({"x": np.zeros(2)}) == arrays_digest({"x": np.zeros((1, 2))})
    False
    """
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


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
