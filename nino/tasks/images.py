"""Images of one's own: folders of classes, columns of Parquet files, a data set of the hub; decoded once."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from nino.files import path_below, sums_below
from nino.specs import DataSpec
from nino.specs.data_options import ImagesOptions
from nino.specs.local_files import split_files
from nino.tasks.archives import cached_arrays, channels_first
from nino.tasks.data import Data, image_data
from nino.tasks.hub import fetched
from nino.tasks.image_folders import ImageFolder, read_folder
from nino.tasks.splitting import drawn
from nino.tasks.vision import expect_source, train_and_test_images

DEEP = ("I", "F")  # Pillow's modes of more than 8 bits a channel start so
FORMAT = 1  # increased whenever the same files would give other pixels


@dataclass(frozen=True)
class Listed:
    """Images before they are decoded.

    Args:
        sources: of each split that has images of its own: files, or the bytes of files.
        labels: of each of them, the number of its class.
        classes: names of the classes, in the order of their numbers.
        key: what tells these images from others.
        facts: recorded with the data.
    """

    sources: Mapping[str, Sequence[Path | bytes]]
    labels: Mapping[str, NDArray[np.int64]]
    classes: list[str]
    key: str
    facts: dict[str, Any]


def images(spec: DataSpec, data_dir: Path, download: bool = False) -> Data:
    """Any images with a class each.

    Args:
        spec: source ``npz`` (arrays in one file, no options), ``folder`` (``path``: ``train/<class>/``, and
            ``validation/`` and ``test/`` likewise, or ``<class>/`` alone), ``parquet`` (``path`` names a file or
            folder; columns ``image``, the bytes of image files, and ``label``) or ``hub`` (option ``repository``).
            Splits that have no images are drawn from train. Options are those of
            `nino.specs.data_options.ImagesOptions`.
        data_dir: where decoded images are kept.
        download: whether the hub may be asked.

    Returns:
        Images of one size, as many classes as the training split has.

    Raises:
        FileNotFoundError: where images are missing; says which belong where.
        ValueError: for another source or option, a file that is no image, or images of several sizes.
    """
    expect_source(spec)
    if spec.source == "npz":
        data = train_and_test_images(spec, data_dir, download)
        if data.outputs < 2:
            raise ValueError(f"data {spec.name!r}: its file has the single class 0: nothing to predict; add others")
        return data
    options = ImagesOptions.under("data.options", spec.options)
    listed = _of_folder(spec) if spec.source == "folder" else _of_parquet(spec, options, data_dir, download)
    key = hashlib.sha256(f"{FORMAT} {options.size} {options.colours} {listed.key}".encode()).hexdigest()[:16]

    def make() -> dict[str, NDArray[Any]]:
        return {f"x_{split}": decoded(spec.name, each, options) for split, each in listed.sources.items()}

    arrays = cached_arrays(data_dir / "decoded" / f"images-{key}.npz", make)
    shapes = {split: array.shape[1:] for split, array in arrays.items()}
    if len({*shapes.values()}) > 1:
        told = ", ".join(f"{split[2:]} {shape[0]} x {shape[1]}" for split, shape in shapes.items())
        raise ValueError(f"data {spec.name!r}: images of several sizes ({told} pixels); set data.options.size")
    pixels = {split: channels_first(arrays[f"x_{split}"]) for split in listed.sources}
    labels = {split: torch.from_numpy(listed.labels[split]) for split in listed.sources}
    absent = [split for split in ("validation", "test") if split not in labels]
    parts = drawn(spec.name, labels["train"], len(labels["train"]), options.draw, absent)
    pairs = {split: (pixels["train"][rows], labels["train"][rows]) for split, rows in parts.items()}
    pairs |= {split: (pixels[split], labels[split]) for split in labels if split not in parts}
    facts = {"source": spec.source, "classes": listed.classes, **listed.facts}
    return image_data(pairs["train"], pairs["validation"], pairs["test"], len(listed.classes), facts)


def _of_folder(spec: DataSpec) -> Listed:
    folder: ImageFolder = read_folder(spec)
    return Listed(folder.files, folder.labels, folder.classes, folder.listing, {})


def _of_parquet(spec: DataSpec, options: ImagesOptions, data_dir: Path, download: bool) -> Listed:
    """Image files and labels in columns of Parquet files, as ``datasets`` writes them, too."""
    hub = spec.source == "hub"
    folder = fetched(spec, options, data_dir, download) if hub else Path(spec.path or "")
    files = split_files(spec, folder if hub else None, partial=hub)
    checksums = sums_below(folder, chain.from_iterable(files.values()))
    sources: dict[str, list[bytes]] = {}
    names: dict[str, list[Any]] = {}
    for split, paths in files.items():
        rows = [row for path in paths for row in _rows(spec.name, path, options)]
        if not rows:
            raise ValueError(f"data {spec.name!r}: {paths[0]} has no rows; give it some")
        sources[split], names[split] = [row[0] for row in rows], [row[1] for row in rows]
    classes = sorted({*names["train"]})
    number = {label: i for i, label in enumerate(classes)}
    for split, given in names.items():
        if others := {*given} - number.keys():
            raise ValueError(
                f"data {spec.name!r}: class {min(others)!r} is in the {split} split and not in train; take it out, or "
                "name another split in data.options.splits or files (hidden labels are often -1)"
            )
    if len(classes) == 1:
        raise ValueError(
            f"data {spec.name!r}: {files['train'][0]} has the single class {classes[0]!r}: nothing to predict; add "
            "others, or name another column in data.options.label"
        )
    made_of = {split: [checksums[path_below(folder, path)] for path in paths] for split, paths in files.items()}
    key = json.dumps([made_of, options.image], sort_keys=True)
    labels = {split: np.array([number[label] for label in each], np.int64) for split, each in names.items()}
    return Listed(sources, labels, [str(label) for label in classes], key, {"files": checksums})


def _rows(name: str, path: Path, options: ImagesOptions) -> Iterator[tuple[bytes, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = file.schema_arrow.names
        for key, column in (("image", options.image), ("label", options.label)):
            if column not in columns:
                raise ValueError(
                    f"data {name!r}: {path} has no column {column!r}, which data.options.{key} names; it has "
                    f"{', '.join(columns)}"
                )
        for batch in file.iter_batches(columns=[options.image, options.label]):
            table = batch.to_pydict()
            for image, label in zip(table[options.image], table[options.label], strict=True):
                content = image.get("bytes") if isinstance(image, dict) else image
                if not isinstance(content, bytes) or not isinstance(label, int | str):
                    raise ValueError(
                        f"data {name!r}: {path} has a row of {type(content).__name__} in {options.image!r} and "
                        f"{label!r} in {options.label!r}; it must hold an image file's bytes and a class, a text or a "
                        "whole number"
                    )
                yield content, label


def decoded(name: str, sources: Sequence[Path | bytes], options: ImagesOptions) -> NDArray[np.uint8]:
    """Decode images: turned as their files say, in the colours asked for, resized if a size is given.

    Args:
        name: of the data set, for messages.
        sources: image files or their bytes; at least one.
        options: ``size`` and ``colours``.

    Returns:
        (n, height, width, channels) uint8.

    Raises:
        ValueError: for what is no image, or not of the size of the first one.
    """
    out: NDArray[np.uint8] | None = None
    for i, source in enumerate(tqdm(sources, desc="decoding images", unit="image", disable=None)):
        pixels = _pixels(name, source, i, options)
        if out is None:
            out = np.empty((len(sources), *pixels.shape), np.uint8)
        if pixels.shape != out.shape[1:]:
            raise ValueError(
                f"data {name!r}: {_called(source, i)} is {pixels.shape[0]} x {pixels.shape[1]} pixels, "
                f"{_called(sources[0], 0)} {out.shape[1]} x {out.shape[2]}; set data.options.size, to which all are "
                "resized"
            )
        out[i] = pixels
    assert out is not None
    return out


def _pixels(name: str, source: Path | bytes, number: int, options: ImagesOptions) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
            if opened.mode.startswith(DEEP):
                raise ValueError(f"it has more than 8 bits a channel (mode {opened.mode})")
            image = ImageOps.exif_transpose(opened).convert("RGB" if options.colours == "rgb" else "L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"data {name!r}: {_called(source, number)} cannot be read as an image ({error}); replace or remove it"
        ) from error
    if options.size is not None:
        image = image.resize((options.size, options.size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _called(source: Path | bytes, number: int) -> str:
    return str(source) if isinstance(source, Path) else f"image {number + 1}"
