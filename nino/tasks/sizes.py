"""The sizes of a task's data and network, and which files are missing, without reading the data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nino.specs import DataSpec, TaskSpec
from nino.tasks import imagenet
from nino.tasks.data import Blocks, Data, Images
from nino.tasks.hub import HUB_TEXT
from nino.tasks.making import sketch_model
from nino.tasks.task import load_task
from nino.tasks.text import SPLITS, local_files, text_folder
from nino.tasks.tokenizers import GPT2_TOKENIZER, tokenizer_folder, vocabulary_size
from nino.tasks.vision import TORCHVISION, ImageSizes

PUBLISHED_IMAGES: dict[str, ImageSizes] = {name: each.sizes for name, each in TORCHVISION.items()}
PUBLISHED_IMAGES["imagenet32"] = imagenet.SIZES
# Bytes of English text per GPT-2 token in a file, by the file's suffix.
BYTES_PER_TOKEN = {".txt": 4.3, ".gz": 1.7, ".parquet": 2.6}


class UnknownSizesError(ValueError):
    """The sizes of a data set follow only from its files, which are missing."""


@dataclass(frozen=True)
class DataSizes:
    """The sizes on which a task's networks and jobs depend.

    Args:
        kind: ``vision`` or ``language``.
        shape: (channels, height, width) of an image, or (block,) tokens.
        outputs: classes, or size of the vocabulary.
        examples: images or blocks of ``train``, ``validation`` and ``test``.
        basis: where the numbers come from, for messages.
    """

    kind: str
    shape: tuple[int, ...]
    outputs: int
    examples: Mapping[str, int]
    basis: str

    @property
    def held_bytes(self) -> int:
        """Memory of the data during training [bytes]: images are held, blocks of tokens are memory-mapped."""
        return math.prod(self.shape) * sum(self.examples.values()) if self.kind == "vision" else 0

    def synthetic(self, train: int, validation: int, test: int) -> Data:
        """Random data of the same shape.

        Args:
            train: examples of the training split.
            validation: of the validation split.
            test: of the test split.
        """
        generator = torch.Generator().manual_seed(0)

        def split(count: int) -> Images | Blocks:
            if self.kind == "language":
                return Blocks(torch.randint(self.outputs, (count, *self.shape), generator=generator))
            raw = torch.randint(256, (count, *self.shape), generator=generator, dtype=torch.uint8)
            labels = torch.randint(self.outputs, (count,), generator=generator)
            channels = torch.ones(self.shape[0], 1, 1)
            return Images(raw, labels, 128 * channels, 74 * channels)

        return Data(self.kind, split(train), split(validation), split(test), self.shape, self.outputs, "synthetic")


def data_sizes(spec: TaskSpec, data_dir: Path, record: Path | None = None) -> DataSizes:
    """The sizes of a task's data.

    Args:
        spec: the task.
        data_dir: folder of data sets.
        record: the file that ``nino data`` wrote for this task, if it has run.

    Returns:
        Exact sizes from the record, from data that ships with a dependency, or from the definition of a published
        image set; else estimates from the size of text files, or of the published corpus.

    Raises:
        UnknownSizesError: where nothing says; names the data and what is missing.
    """
    if record is not None and (recorded := _recorded(spec, record)):
        return recorded
    data = spec.data
    if data.name in PUBLISHED_IMAGES and data.source != "folder" and "repository" not in data.options:
        images = PUBLISHED_IMAGES[data.name]
        examples = dict(zip(SPLITS, images.examples, strict=True))
        return DataSizes("vision", images.shape, images.classes, examples, "the data set's definition")
    if data.name in HUB_TEXT or data.name == "text":
        return _of_text(data, data_dir)
    try:
        loaded = load_task(spec, data_dir).data
    except FileNotFoundError as error:
        raise UnknownSizesError(f"task {spec.id!r}: {error}") from error
    examples = {split: len(loaded.split(split)) for split in SPLITS}
    return DataSizes(loaded.kind, loaded.shape, loaded.outputs, examples, "the data")


def _recorded(spec: TaskSpec, record: Path) -> DataSizes | None:
    """The sizes that ``nino data`` recorded, if it was asked for the same data."""
    try:
        content: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if content["task"]["data"] != json.loads(json.dumps(spec.data.to_dict())):
        return None
    data = content["data"]
    kind = "vision" if len(data["shape"]) == 3 else "language"
    return DataSizes(kind, tuple(data["shape"]), data["outputs"], data["examples"], "the data")


def _of_text(spec: DataSpec, data_dir: Path) -> DataSizes:
    """Estimates from the size of local files, else from the published corpus."""
    block = int(spec.options.get("block", 1024))
    try:
        files, basis = local_files(spec, data_dir).files, "the size of its files"
        tokens = [int(sum(path.stat().st_size / BYTES_PER_TOKEN[path.suffix] for path in files[s])) for s in SPLITS]
    except FileNotFoundError as error:
        if spec.name not in HUB_TEXT:
            raise UnknownSizesError(
                f"data {spec.name!r}: its size is that of its files, and {text_folder(spec, data_dir)} lacks some"
            ) from error
        tokens, basis = list(HUB_TEXT[spec.name].tokens), "the published corpus"
    limit = spec.options.get("evaluation_blocks") or math.inf
    counts = {split: max(1, count // block) for split, count in zip(SPLITS, tokens, strict=True)}
    counts |= {split: int(min(counts[split], limit)) for split in ("validation", "test")}
    try:
        vocabulary = vocabulary_size(str(spec.options.get("tokenizer", GPT2_TOKENIZER)), data_dir)
    except FileNotFoundError as error:
        raise UnknownSizesError(f"data {spec.name!r}: {error}") from error
    return DataSizes("language", (block,), vocabulary, counts, basis)


def hub_bytes(name: str) -> tuple[int, int]:
    """About how much disk fetching a text takes [bytes]: in the hub's cache; in ours, one copy of which is unpacked.

    >>> hub_bytes("wikitext-103")
    (300378000, 797157000)
    """
    tokens = sum(HUB_TEXT[name].tokens)
    packed, plain = int(BYTES_PER_TOKEN[".parquet"] * tokens), int(BYTES_PER_TOKEN[".txt"] * tokens)
    return packed, packed + plain


def parameter_shapes(spec: TaskSpec, sizes: DataSizes) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of each parameter tensor of a task's network, which is not allocated."""
    model = sketch_model(spec.model, sizes.synthetic(1, 1, 1))
    return [(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()]


def tensor_sizes(spec: TaskSpec, sizes: DataSizes) -> list[int]:
    """Elements of each parameter tensor of a task's network."""
    return [math.prod(shape) for _, shape in parameter_shapes(spec, sizes)]


def missing_file(spec: DataSpec, data_dir: Path) -> str | None:
    """Which file of a data set is missing.

    Args:
        spec: the data set and its source.
        data_dir: folder of data sets.

    Returns:
        The first missing file, in words; None where all are there, where the data ships with a dependency, and for
        images of the hub, of which only reading them tells.
    """
    if spec.source == "embedded":
        return None
    folder = Path(spec.path) if spec.path else data_dir / spec.name
    if spec.source == "torchvision":
        expected = TORCHVISION[spec.name]
        return _first_missing([data_dir / expected.folder / name for name in expected.files])
    if spec.name == "imagenet32" and spec.source != "npz":
        return None if spec.source == "hub" or folder.is_dir() else f"no folder {folder}"
    if spec.source == "npz":
        archive = Path(spec.path) if spec.path else data_dir / f"{spec.name}.npz"
        batches = spec.name == "imagenet32"
        return _first_missing([folder / name for name in imagenet.BATCHES] if batches else [archive])
    try:
        local_files(spec, data_dir)
    except FileNotFoundError as error:
        return str(error).partition(";")[0]
    tokenizer = str(spec.options.get("tokenizer", GPT2_TOKENIZER))
    expected_at, complete = tokenizer_folder(tokenizer, data_dir)
    return None if complete else f"no tokenizer {tokenizer} at {expected_at}"


def _first_missing(paths: list[Path]) -> str | None:
    return next((f"no file {path}" for path in paths if not path.is_file()), None)
