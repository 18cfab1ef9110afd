"""Folders of images: a folder a class, in folders of splits or without; only names are read here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nino.specs import DataSpec

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
# What the folders of the splits may be called.
FOLDERS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}


@dataclass(frozen=True)
class ImageFolder:
    """The image files of each split.

    Args:
        files: in the order of their names, split by split; a split may be missing, but for train.
        labels: of each file, the number of its class.
        classes: the names of train's folders, in the order of their numbers.
        listing: SHA-256 over the folder's place and names, sizes and times of all files.
    """

    files: Mapping[str, list[Path]]
    labels: Mapping[str, NDArray[np.int64]]
    classes: list[str]
    listing: str


def read_folder(spec: DataSpec) -> ImageFolder:
    """List ``<split>/<class>/`` or, where there is no folder ``train``, ``<class>/``, with all folders below.

    Args:
        spec: ``path`` names the folder.

    Returns:
        The files.

    Raises:
        FileNotFoundError: where the folder or all class folders are missing.
        ValueError: for a class without images, a single class, or one that train has not.
    """
    start = f"data {spec.name!r}"
    if spec.path is None:
        raise FileNotFoundError(f"{start} with source 'folder': name the folder in data.path")
    folder = Path(spec.path)
    if not folder.is_dir():
        raise FileNotFoundError(f"{start}: no folder {folder}, which data.path names; put it there, or set data.path")
    named = {split: [folder / name for name in names if (folder / name).is_dir()] for split, names in FOLDERS.items()}
    splits = {split: folders[0] for split, folders in named.items() if folders} if named["train"] else {"train": folder}
    files: dict[str, list[Path]] = {}
    labels: dict[str, NDArray[np.int64]] = {}
    classes: list[str] = []
    for split, below in splits.items():
        of_class = {path.name: _images(path) for path in _folders(below)}
        if not of_class:
            raise FileNotFoundError(f"{start}: no class folders in {below}; put the images of each class in one")
        if empty := [name for name, images in of_class.items() if not images]:
            raise ValueError(
                f"{start}: no images in {below / empty[0]} ({', '.join(IMAGE_SUFFIXES)}); put some there, or remove it"
            )
        if split == "train":
            classes = sorted(of_class)
        if others := sorted(of_class.keys() - {*classes}):
            raise ValueError(
                f"{start}: class {others[0]!r} is in {below} and not in {splits['train']}; add or remove it"
            )
        files[split] = [path for name in classes for path in of_class.get(name, ())]
        labels[split] = np.repeat(np.arange(len(classes)), [len(of_class.get(name, ())) for name in classes])
    if len(classes) == 1:
        raise ValueError(
            f"{start}: {splits['train']} has the single class {classes[0]!r}: nothing to predict; add others"
        )
    listing = hashlib.sha256(f"{folder.resolve()}\n".encode())
    for path in (path for split in files for path in files[split]):
        status = path.stat()
        listing.update(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return ImageFolder(files, labels, classes, listing.hexdigest())


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    """The image files below a folder, by their suffix; hidden ones are left out."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(path for path in paths if path.is_file() and not path.name.startswith("."))
