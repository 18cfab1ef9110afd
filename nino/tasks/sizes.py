"""The sizes of a task's data and network, and which files are missing, without reading the data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nino.specs import DataSpec, TaskSpec
from nino.specs.data_options import DATA_OPTIONS, USER_DATA, HubOptions, ImagesOptions, TextOptions, UserTextOptions
from nino.specs.local_files import SPLITS, split_files
from nino.tasks import imagenet
from nino.tasks.cut_text import CutText
from nino.tasks.data import Blocks, Data, Images, Rows, Split
from nino.tasks.hub import HUB_TEXT, hub_folder
from nino.tasks.image_folders import read_folder
from nino.tasks.images import decoded
from nino.tasks.language import text_files
from nino.tasks.networks import sketch_model
from nino.tasks.splitting import drawn
from nino.tasks.task import load_task
from nino.tasks.text import TextFiles, local_files, text_folder
from nino.tasks.tokenizers import BYTES, tokenizer_folder, vocabulary_size
from nino.tasks.vision import TORCHVISION, ImageSizes

PUBLISHED_IMAGES: dict[str, ImageSizes] = {name: each.sizes for name, each in TORCHVISION.items()}
PUBLISHED_IMAGES["imagenet32"] = imagenet.SIZES
# Bytes of English text per GPT-2 token in a file, by the file's suffix.
BYTES_PER_TOKEN = {".txt": 4.3, ".gz": 1.7, ".parquet": 2.6}


class UnknownSizesError(ValueError):
    """The sizes of a data set are unknown: files that tell them are missing, or its inputs are several tensors."""


@dataclass(frozen=True)
class DataSizes:
    """The sizes on which a task's networks and jobs depend.

    Args:
        kind: ``vision``, ``language`` or ``table``.
        shape: (channels, height, width) of an image, (block,) tokens, or (features, ...) of a row.
        outputs: classes, size of the vocabulary, or numbers to predict.
        examples: images, blocks or rows of ``train``, ``validation`` and ``test``.
        basis: where the numbers come from, for messages.
        loss: ``cross_entropy`` or ``mse``.
    """

    kind: str
    shape: tuple[int, ...]
    outputs: int
    examples: Mapping[str, int]
    basis: str
    loss: str = "cross_entropy"

    @property
    def held_bytes(self) -> int:
        """Memory of the data during training [bytes]: images and rows are held, blocks of tokens memory-mapped."""
        element = {"vision": 1, "table": 4, "language": 0}[self.kind]
        return element * math.prod(self.shape) * sum(self.examples.values())

    def synthetic(self, train: int, validation: int, test: int) -> Data:
        """Random data of the same shape.

        Args:
            train: examples of the training split.
            validation: of the validation split.
            test: of the test split.
        """
        generator = torch.Generator().manual_seed(0)

        def split(count: int) -> Split:
            if self.kind == "language":
                return Blocks(torch.randint(self.outputs, (count, *self.shape), generator=generator))
            labels = torch.randint(self.outputs, (count,), generator=generator)
            if self.kind == "table":
                numbers = torch.randn(count, self.outputs, generator=generator)
                rows = torch.randn(count, *self.shape, generator=generator)
                return Rows(rows, numbers if self.loss == "mse" else labels)
            raw = torch.randint(256, (count, *self.shape), generator=generator, dtype=torch.uint8)
            channels = torch.ones(self.shape[0], 1, 1)
            return Images(raw, labels, 128 * channels, 74 * channels)

        splits = split(train), split(validation), split(test)
        return Data(self.kind, *splits, self.shape, self.outputs, "synthetic", loss=self.loss)


def data_sizes(spec: TaskSpec, data_dir: Path, record: Path | None = None) -> DataSizes:
    """The sizes of a task's data.

    Args:
        spec: the task.
        data_dir: folder of data sets.
        record: the file that ``nino data`` wrote for this task, if it has run.

    Returns:
        For text without a record, estimates from the size of its files or of the published corpus; else exact sizes
        from the record, from the definition of a published image set, or from the data itself.

    Raises:
        UnknownSizesError: where none of these tells the sizes; names the data and why.
    """
    data = spec.data
    if data.name in DATA_OPTIONS and record is not None and (recorded := _recorded(spec, record)):
        return recorded
    if data.name in PUBLISHED_IMAGES and data.source != "folder" and "repository" not in data.options:
        images = PUBLISHED_IMAGES[data.name]
        examples = dict(zip(SPLITS, images.examples, strict=True))
        return DataSizes("vision", images.shape, images.classes, examples, "the data set's definition")
    if data.name in HUB_TEXT or data.name == "text":
        return _of_text(data, data_dir)
    try:
        if data.name == "images" and data.source == "folder":
            return _of_image_folder(data)
        loaded = load_task(spec, data_dir).data
    except FileNotFoundError as error:
        raise UnknownSizesError(f"task {spec.id!r}: {error}") from error
    if not isinstance(loaded.train.slice(0, 1)[0], Tensor):
        raise UnknownSizesError(f"task {spec.id!r}: its models are called with more than one tensor")
    examples = {split: len(loaded.split(split)) for split in SPLITS}
    return DataSizes(loaded.kind, loaded.shape, loaded.outputs, examples, "the data", loaded.loss)


def _recorded(spec: TaskSpec, record: Path) -> DataSizes | None:
    """The sizes that ``nino data`` recorded, if it was asked for the same data."""
    try:
        content: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if content["task"]["data"] != json.loads(json.dumps(spec.data.to_dict())):
        return None
    data = content["data"]
    kind = data.get("kind", "vision" if len(data["shape"]) == 3 else "language")
    loss = data.get("loss", DataSizes.loss)
    return DataSizes(kind, tuple(data["shape"]), data["outputs"], data["examples"], "the data", loss)


def _of_image_folder(spec: DataSpec) -> DataSizes:
    """Exact sizes from the names of the files and, where no size is set, the first image."""
    options, folder = ImagesOptions.under("data.options", spec.options), read_folder(spec)
    labels = torch.from_numpy(folder.labels["train"])
    absent = [split for split in ("validation", "test") if split not in folder.files]
    examples = {split: len(each) for split, each in folder.labels.items()}
    examples |= {
        split: len(rows) for split, rows in drawn(spec.name, labels, len(labels), options.draw, absent).items()
    }
    height, width, channels = decoded(spec.name, folder.files["train"][:1], options).shape[1:]
    return DataSizes("vision", (channels, height, width), len(folder.classes), examples, "the data")


def _of_text(spec: DataSpec, data_dir: Path) -> DataSizes:
    """Estimates from the size of local files, else from the published corpus."""
    options = _text_options(spec)
    block, tokenizer, basis = options.block, options.tokenizer, "the size of its files"
    try:
        if isinstance(options, UserTextOptions):
            files: TextFiles | CutText = text_files(spec, options, data_dir)
        else:
            files = local_files(spec, data_dir)
        tokens = [
            int(_tokens(files, split) * (BYTES_PER_TOKEN[".txt"] if tokenizer == BYTES else 1)) for split in SPLITS
        ]
    except FileNotFoundError as error:
        if spec.name not in HUB_TEXT:
            raise UnknownSizesError(
                f"data {spec.name!r}: its size is that of its files, and {text_folder(spec, data_dir)} lacks some"
            ) from error
        tokens, basis = list(HUB_TEXT[spec.name].tokens), "the published corpus"
    limit = options.evaluation_blocks or math.inf
    counts = {split: max(1, count // block) for split, count in zip(SPLITS, tokens, strict=True)}
    counts |= {split: int(min(counts[split], limit)) for split in ("validation", "test")}
    try:
        vocabulary = vocabulary_size(tokenizer, data_dir)
    except FileNotFoundError as error:
        raise UnknownSizesError(f"data {spec.name!r}: {error}") from error
    return DataSizes("language", (block,), vocabulary, counts, basis)


def _text_options(spec: DataSpec) -> TextOptions:
    options = DATA_OPTIONS[spec.name].under("data.options", spec.options)
    assert isinstance(options, TextOptions)
    return options


def _tokens(files: TextFiles | CutText, split: str) -> float:
    """About how many GPT-2 tokens a split has, by the size of its files, or by its part of them."""
    if isinstance(files, TextFiles):
        return sum(path.stat().st_size / BYTES_PER_TOKEN[path.suffix] for path in files.files[split])
    lengths: dict[Path, int] = {}
    for part in (part for each in files.parts.values() for part in each):
        lengths[part.path] = lengths.get(part.path, 0) + part.stop - part.start
    return sum(
        (part.stop - part.start) / lengths[part.path] * part.path.stat().st_size / BYTES_PER_TOKEN[part.path.suffix]
        for part in files.parts[split]
    )


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
        The first missing file, in words; None where all are there, where the data ships with a dependency or comes from
        a function of the user's own, and for ``imagenet32`` from the hub, of which only reading it tells.
    """
    if spec.source == "embedded":  # with a dependency, or from a function of the user's own
        return None
    folder = Path(spec.path) if spec.path else data_dir / spec.name
    if spec.source == "torchvision":
        expected = TORCHVISION[spec.name]
        return _first_missing([data_dir / expected.folder / name for name in expected.files])
    if spec.name == "imagenet32" and spec.source != "npz":
        return None if spec.source == "hub" or folder.is_dir() else f"no folder {folder}"
    if spec.name in USER_DATA and spec.source != "npz":
        return _missing_user_data(spec, data_dir)
    if spec.source == "npz":
        archive = Path(spec.path) if spec.path else data_dir / f"{spec.name}.npz"
        batches = spec.name == "imagenet32"
        return _first_missing([folder / name for name in imagenet.BATCHES] if batches else [archive])
    try:
        local_files(spec, data_dir)
    except FileNotFoundError as error:
        return str(error).partition(";")[0]
    return _missing_tokenizer(spec, data_dir)


def _missing_user_data(spec: DataSpec, data_dir: Path) -> str | None:
    """The same for data whose content a user brings."""
    options = DATA_OPTIONS[spec.name].from_dict(spec.options)
    assert isinstance(options, HubOptions)
    try:
        if spec.source == "hub":
            folder = hub_folder(options, data_dir)
            if not folder.is_dir():
                return f"{options.repository}, to be fetched into {folder}"
        elif spec.source == "folder":
            read_folder(spec)
        else:
            split_files(spec, text_folder(spec, data_dir) if spec.name == "text" else None)
    except FileNotFoundError as error:
        return str(error).partition(";")[0]
    return _missing_tokenizer(spec, data_dir) if spec.name == "text" else None


def _missing_tokenizer(spec: DataSpec, data_dir: Path) -> str | None:
    tokenizer = _text_options(spec).tokenizer
    expected_at, complete = tokenizer_folder(tokenizer, data_dir)
    return None if complete else f"no tokenizer {tokenizer} at {expected_at}"


def _first_missing(paths: list[Path]) -> str | None:
    return next((f"no file {path}" for path in paths if not path.is_file()), None)
