"""The sizes of a task's data without reading it: from the run's own record, from small files, or as published."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nino.specs import DataSpec, TaskSpec
from nino.tasks import Data, load_task
from nino.tasks.data import Blocks, Images
from nino.tasks.language import GPT2_TOKENIZER
from nino.tasks.text import SPLITS, SUFFIXES

VOCABULARIES = {GPT2_TOKENIZER: 50_257, "meta-llama/Meta-Llama-3-8B": 128_256}
# Images of 28 x 28 or 32 x 32: shape, classes, and images of train, validation (1/12 of the training set) and test.
VISION: dict[str, tuple[tuple[int, ...], int, tuple[int, int, int]]] = {
    "fashion-mnist": ((1, 28, 28), 10, (55_000, 5_000, 10_000)),
    "cifar10": ((3, 32, 32), 10, (45_834, 4_166, 10_000)),
    "cifar100": ((3, 32, 32), 100, (45_834, 4_166, 10_000)),
    "imagenet32": ((3, 32, 32), 1000, (1_271_167, 10_000, 50_000)),
}
# GPT-2 tokens of train, validation and test. LM1B: an epoch of 24,500 steps of 32 x 1024 tokens, 5 % held back, 306,688
# test sentences. WikiText-103: 3,500 such steps an epoch.
TOKENS: dict[str, tuple[int, int, int]] = {
    "lm1b": (803_000_000, 42_000_000, 8_400_000),
    "wikitext-103": (115_000_000, 247_000, 283_000),
}
# Bytes of English a GPT-2 token takes in a file, by the file's suffix.
BYTES_PER_TOKEN = {".txt": 4.3, ".gz": 1.7, ".parquet": 2.6}


class UnknownSizesError(ValueError):
    """Data whose sizes only the data itself knows, and which is not there."""


@dataclass(frozen=True)
class Facts:
    """What a task's networks and jobs depend on.

    Args:
        kind: ``vision`` or ``language``.
        shape: (channels, height, width) of an image, or (block,) tokens.
        outputs: classes, or size of the vocabulary.
        examples: images or blocks of ``train``, ``validation`` and ``test``.
        basis: how that is known.
    """

    kind: str
    shape: tuple[int, ...]
    outputs: int
    examples: Mapping[str, int]
    basis: str

    @property
    def held_bytes(self) -> int:
        """Memory that the data takes while it is trained on: images are held, blocks of tokens mapped."""
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


def data_facts(spec: TaskSpec, data_dir: Path, record: Path | None = None) -> Facts:
    """The sizes of a task's data.

    Args:
        spec: the task.
        data_dir: folder of data sets.
        record: what ``nino data`` wrote of this task, if it has run.

    Returns:
        Exact sizes from the record, from data that ships with a dependency and from the definition of known image
        sets; else about what text files or the published corpora hold.

    Raises:
        UnknownSizesError: where nothing says; names the data and what is missing.
    """
    if record is not None and (known := _recorded(spec, record)):
        return known
    data = spec.data
    if data.name in VISION and data.source != "folder" and "repository" not in data.options:
        shape, classes, counts = VISION[data.name]
        return Facts("vision", shape, classes, dict(zip(SPLITS, counts, strict=True)), "the data set's definition")
    if data.name in TOKENS or data.name == "text":
        return _of_text(data, data_dir)
    try:
        return _of_data(load_task(spec, data_dir).data)
    except FileNotFoundError as error:
        raise UnknownSizesError(f"task {spec.id!r}: {error}") from error


def _recorded(spec: TaskSpec, record: Path) -> Facts | None:
    """The sizes that ``nino data`` found, where it was asked for the same data."""
    try:
        found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if found["task"]["data"] != json.loads(json.dumps(spec.data.to_dict())):
        return None
    data = found["data"]
    kind = "vision" if len(data["shape"]) == 3 else "language"
    return Facts(kind, tuple(data["shape"]), data["outputs"], data["examples"], "the data")


def _of_data(data: Data) -> Facts:
    examples = {split: len(data.split(split)) for split in SPLITS}
    return Facts(data.kind, data.shape, data.outputs, examples, "the data")


def _of_text(spec: DataSpec, data_dir: Path) -> Facts:
    """About what text holds: by the size of local files, else as published."""
    block = int(spec.options.get("block", 1024))
    folder = Path(spec.path) if spec.path and spec.source != "hub" else data_dir / spec.name
    tokens = _tokens_in_files(spec, folder)
    basis = "the size of its files"
    if tokens is None:
        if spec.name not in TOKENS:
            raise UnknownSizesError(f"data {spec.name!r}: its size is that of its files, and {folder} lacks some")
        tokens, basis = TOKENS[spec.name], "the published corpus"
    limit = spec.options.get("evaluation_blocks") or math.inf
    counts = {split: max(1, count // block) for split, count in zip(SPLITS, tokens, strict=True)}
    counts |= {split: int(min(counts[split], limit)) for split in ("validation", "test")}
    return Facts("language", (block,), _vocabulary(spec, data_dir), counts, basis)


def _tokens_in_files(spec: DataSpec, folder: Path) -> tuple[int, int, int] | None:
    given = spec.options.get("files", {})
    suffixes = SUFFIXES["text" if spec.source == "text" else "parquet"]
    counts = []
    for split in SPLITS:
        named = given.get(split)
        files = [named] if isinstance(named, str) else named
        paths = [folder / name for name in files or ()]
        paths = paths or [path for suffix in suffixes for path in folder.glob(f"{split}*{suffix}")]
        if not paths or not all(path.is_file() for path in paths):
            return None
        counts.append(int(sum(path.stat().st_size / BYTES_PER_TOKEN[path.suffix] for path in paths)))
    return counts[0], counts[1], counts[2]


def _vocabulary(spec: DataSpec, data_dir: Path) -> int:
    """The tokenizer's size: those of the benchmark's are known, another one has to be there."""
    name = str(spec.options.get("tokenizer", GPT2_TOKENIZER))
    if name in VOCABULARIES and not Path(name).is_dir():
        return VOCABULARIES[name]
    from nino.tasks.tokenizers import load_tokenizer

    try:
        return load_tokenizer(name, data_dir, download=False)[1]
    except FileNotFoundError as error:
        raise UnknownSizesError(f"data {spec.name!r}: {error}") from error
