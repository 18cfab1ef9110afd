"""A data set in memory: images, blocks of tokens or rows of numbers in three splits, and the sizes that models need."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from nino.tasks.checked_pieces import Pieces

Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
"""What a model is called with: a tensor, several by position, or several by name; the first axis is the example."""

Batch = tuple[Any, Tensor]
"""Inputs and targets: images and labels, tokens and the tokens that follow them, rows of numbers and what they mean."""


class Split(Protocol):
    """One part of a data set."""

    def __len__(self) -> int:
        """Number of examples."""

    def select(self, indices: Tensor) -> Batch:
        """The examples of these (B,) long indices, ready for the model."""

    def slice(self, start: int, stop: int) -> Batch:
        """The examples ``start <= i < stop``, ready for the model."""

    def to(self, device: torch.device) -> Split:
        """The same split on another device."""

    def digest(self) -> str:
        """SHA-256 of the raw examples."""


@dataclass(frozen=True)
class Images:
    """Images and their classes.

    Stored as bytes, a quarter of the memory of floats, and normalised a batch at a time, which costs 50 microseconds
    for 128 images of 28 x 28.

    Args:
        raw: (n, channels, height, width) uint8.
        labels: (n,) long.
        mean: (channels, 1, 1) float32, in units of ``raw``.
        std: (channels, 1, 1) float32, in units of ``raw``.
    """

    raw: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def normalise(self, raw: Tensor) -> Tensor:
        """``(raw - mean) / std`` in float32."""
        return raw.to(torch.float32, copy=True).sub_(self.mean).div_(self.std)

    def select(self, indices: Tensor) -> Batch:
        """Normalised images (B, channels, height, width) float32 and labels (B,) of (B,) long indices."""
        indices = indices.to(self.labels.device)
        return self.normalise(self.raw.index_select(0, indices)), self.labels.index_select(0, indices)

    def slice(self, start: int, stop: int) -> Batch:
        """Normalised images and labels ``start <= i < stop``."""
        return self.normalise(self.raw[start:stop]), self.labels[start:stop]

    def to(self, device: torch.device) -> Images:
        """The same images on another device."""
        return Images(*(t.to(device) for t in (self.raw, self.labels, self.mean, self.std)))

    def digest(self) -> str:
        """SHA-256 over the raw images and labels, not over how they are normalised."""
        return tensor_digest(self.raw, self.labels)


@dataclass(frozen=True)
class Blocks:
    """Blocks of tokens; every token but the last of a block predicts the next one.

    Args:
        tokens: (n, block) of any integer dtype; may be a memory map.
        device: where batches go; the tokens themselves stay where they are.
        checksum: SHA-256 of the tokens where it is known already (large maps are not read again for it).
        pieces: what tokens that are read from a file are checked against; None for tokens in memory.
    """

    tokens: Tensor
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    checksum: str | None = None
    pieces: Pieces | None = None

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self.tokens)

    def select(self, indices: Tensor) -> Batch:
        """Tokens and next tokens (B, block - 1) long of (B,) long indices."""
        indices = indices.to(self.tokens.device)
        if self.pieces is not None:
            self.pieces.require(indices.tolist())
        return self._shifted(self.tokens.index_select(0, indices))

    def slice(self, start: int, stop: int) -> Batch:
        """Tokens and next tokens of the blocks ``start <= i < stop``."""
        if self.pieces is not None:
            self.pieces.require(range(*slice(start, stop).indices(len(self))))
        return self._shifted(self.tokens[start:stop])

    def to(self, device: torch.device) -> Blocks:
        """The same blocks with batches on another device."""
        return replace(self, device=device)

    def digest(self) -> str:
        """SHA-256 of the tokens."""
        if self.checksum is None and self.pieces is not None:
            self.pieces.require(range(len(self)))
        return self.checksum or tensor_digest(self.tokens)

    def _shifted(self, tokens: Tensor) -> Batch:
        # the last token is not fed: nothing follows it, and in a causal model it changes no other output
        tokens = tokens.to(self.device, torch.long)
        return tokens[:, :-1], tokens[:, 1:]


@dataclass(frozen=True)
class Rows:
    """Rows of numbers and what is to be predicted of each.

    Args:
        inputs: (n, features, ...) float32, as the model reads them.
        targets: (n,) long classes, or (n, outputs) float32 numbers.
        checksum: SHA-256 of the rows as they were before they were standardised; None takes that of the rows.
    """

    inputs: Tensor
    targets: Tensor
    checksum: str | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.targets)

    def select(self, indices: Tensor) -> Batch:
        """Inputs (B, features, ...) float32 and targets of (B,) long indices."""
        indices = indices.to(self.targets.device)
        return self.inputs.index_select(0, indices), self.targets.index_select(0, indices)

    def slice(self, start: int, stop: int) -> Batch:
        """Inputs and targets of the rows ``start <= i < stop``."""
        return self.inputs[start:stop], self.targets[start:stop]

    def to(self, device: torch.device) -> Rows:
        """The same rows on another device."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))

    def digest(self) -> str:
        """``checksum`` if it is set, else SHA-256 over inputs and targets."""
        return self.checksum or tensor_digest(self.inputs, self.targets)


@dataclass(frozen=True)
class Data:
    """A data set in three disjoint splits.

    Args:
        kind: ``vision``, ``language`` or ``table``.
        train: what the networks are trained on.
        validation: held back, for choices; used for the target only where the target says so.
        test: what the target is checked on.
        shape: (channels, height, width) of an image, (block,) tokens, or (features, ...) of a row of a table.
        outputs: number of classes, size of the vocabulary, or numbers to predict.
        checksum: SHA-256 that identifies the data, the splits included.
        facts: further facts that are recorded with results (source, statistics, tokenizer ...), JSON values.
        loss: ``cross_entropy`` (targets long) or ``mse`` (targets (n, outputs) float32).
    """

    kind: str
    train: Split
    validation: Split
    test: Split
    shape: tuple[int, ...]
    outputs: int
    checksum: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "cross_entropy"

    def split(self, name: str) -> Split:
        """The split of this name.

        Raises:
            ValueError: for a name other than ``train``, ``validation`` and ``test``.
        """
        if name not in ("train", "validation", "test"):
            raise ValueError(f"`split` is {name!r}; allowed are 'train', 'validation' and 'test'")
        split: Split = getattr(self, name)
        return split

    def to(self, device: torch.device) -> Data:
        """The same data set with batches on another device."""
        return replace(
            self, train=self.train.to(device), validation=self.validation.to(device), test=self.test.to(device)
        )


def tensor_digest(*tensors: Tensor) -> str:
    """SHA-256 over dtype, shape and bytes of tensors, in hexadecimal.

    >>> tensor_digest(torch.zeros(2)) == tensor_digest(torch.zeros(2)) != tensor_digest(torch.zeros(1, 2))
    True
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        array = np.ascontiguousarray(tensor.cpu().numpy())
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def joint_digest(*splits: Split) -> str:
    """SHA-256 over the digests of splits, in their order."""
    return hashlib.sha256("".join(split.digest() for split in splits).encode()).hexdigest()


def image_data(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    classes: int,
    facts: Mapping[str, Any],
) -> Data:
    r"""A vision data set, normalised with the training split's channel means and deviations.

    Args:
        train: raw images (n, channels, height, width) uint8 and labels (n,) long.
        validation: the same for the validation split.
        test: the same for the test split.
        classes: number of classes.
        facts: recorded with the data.

    Returns:
        The data set; its checksum is over raw images and labels, so the same images from another source have the same.
    """
    raw = train[0]
    statistics = [channel_statistics(raw[:, c]) for c in range(raw.shape[1])]
    mean, std = torch.tensor(statistics).T.reshape(2, -1, 1, 1)
    splits = [Images(x, y, mean, std) for x, y in (train, validation, test)]
    shape = tuple(raw.shape[1:])
    recorded = {**facts, "mean": mean.flatten().tolist(), "std": std.flatten().tolist()}
    return Data("vision", splits[0], splits[1], splits[2], shape, classes, joint_digest(*splits), recorded)


def channel_statistics(channel: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of uint8 values, by counting them: exact, and large sets are never copied as floats.

    >>> channel_statistics(torch.tensor([0, 2, 2, 4], dtype=torch.uint8))
    (2.0, 1.4142135623730951)
    """
    counts = torch.bincount(channel.flatten(), minlength=256).to(torch.float64)
    values = torch.arange(256, dtype=torch.float64)
    mean = (counts @ values) / counts.sum()
    variance = (counts @ (values - mean) ** 2) / counts.sum()
    return float(mean), math.sqrt(float(variance))
