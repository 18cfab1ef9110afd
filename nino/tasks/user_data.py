"""Data from a function of the user's own: called, and turned into a `Data` where it returns plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nino.specs import DataSpec, Reference
from nino.specs.data_options import Draw
from nino.specs.local_files import SPLITS
from nino.tasks.data import Batch, Blocks, Data, Rows, Split, image_data, joint_digest
from nino.tasks.splitting import drawn
from nino.user_code import user_line

ACCEPTED = (
    "a nino.tasks.Data, or a mapping of splits, train and perhaps validation and test: each (inputs, targets), arrays "
    "or tensors with as many rows, or tokens (n, block) alone"
)


def load_user_data(spec: DataSpec, reference: Reference) -> Data:
    """Call a function of the user's own and take what it returns.

    Args:
        spec: options are the function's arguments; ``path``, where it is set, is passed if it takes that, too.
        reference: the function.

    Returns:
        The data set; its facts name the function and the checksum of its file.

    Raises:
        ValueError: where the function raises, or returns something else; one line says what and where.
    """
    try:
        returned = reference.call(offered={} if spec.path is None else {"path": spec.path}, **spec.options)
    except Exception as error:  # whatever a foreign function raises is said in one line
        place = user_line(error) or (error.__cause__ and user_line(error.__cause__))  # of importing the file
        told = f"{type(error).__name__}: {' '.join(str(error).split())}{f' ({place})' if place else ''}"
        raise ValueError(f"data {spec.name!r}: {told}; see --debug") from error
    data = returned if isinstance(returned, Data) else from_splits(spec.name, returned)
    return replace(data, facts={**data.facts, "loader": reference.record()})


def from_splits(name: str, splits: Any) -> Data:
    """A data set from plain arrays.

    Inputs of uint8 (n, channels, height, width) with classes are images, normalised with the training split's
    statistics; tokens (n, block), whole numbers without targets, are blocks, each token predicting the next; everything
    else is rows of numbers. Targets that are whole numbers are classes from 0, others are numbers to predict. Missing
    splits are drawn from train: 10 % each, with a fixed seed, and nearly the same share of every class.

    Args:
        name: of the data set, for messages.
        splits: by name, ``(inputs, targets)`` or tokens.

    Returns:
        The data set.

    Raises:
        ValueError: for anything else; says what is accepted.
    """
    if not isinstance(splits, Mapping) or "train" not in splits or not {*splits} <= {*SPLITS}:
        what = f"splits {', '.join(map(str, splits))}" if isinstance(splits, Mapping) else type(splits).__name__
        raise ValueError(f"data {name!r} returned {what}; expected {ACCEPTED}")
    pairs = {split: _pair(name, split, splits[split]) for split in SPLITS if split in splits}
    absent = [split for split in SPLITS if split not in pairs]
    targets = pairs["train"][1]
    for split, (_, labels) in pairs.items():
        if labels is not None and not labels.is_floating_point() and (labels.ndim != 1 or int(labels.min()) < 0):
            raise ValueError(
                f"data {name!r}: targets of {split} are {_told(labels)}, the smallest {int(labels.min())}; classes "
                "must be (n,) whole numbers from 0, numbers to predict floats"
            )
    classes = None if targets is None or targets.is_floating_point() else targets
    if absent:
        parts = drawn(name, classes, len(pairs["train"][0]), Draw(), absent)
        inputs = pairs["train"][0]
        pairs |= {s: (inputs[rows], None if targets is None else targets[rows]) for s, rows in parts.items()}
    if len({(x.shape[1:], x.dtype, None if y is None else (y.shape[1:], y.dtype)) for x, y in pairs.values()}) > 1:
        told = ", ".join(f"{s} {_told(x)} with {_told(y)}" for s, (x, y) in pairs.items())
        raise ValueError(f"data {name!r}: its splits do not go together: {told}; they must differ in rows only")
    if targets is None:
        return _tokens(name, {split: pair[0] for split, pair in pairs.items()})
    return _rows_or_images(
        name, {split: (x, y) for split, (x, y) in pairs.items() if y is not None}, classes is not None
    )


def _tokens(name: str, tokens: Mapping[str, Tensor]) -> Data:
    if any(each.is_floating_point() or each.ndim != 2 or each.shape[1] < 2 for each in tokens.values()):
        raise ValueError(f"data {name!r} returned {_told(tokens['train'])} without targets; expected {ACCEPTED}")
    if (smallest := min(int(each.min()) for each in tokens.values())) < 0:
        raise ValueError(f"data {name!r}: the smallest token is {smallest}; tokens must be whole numbers from 0")
    blocks = [Blocks(tokens[split]) for split in SPLITS]
    words = max(int(each.max()) for each in tokens.values()) + 1
    train, validation, test = blocks
    return Data("language", train, validation, test, (tokens["train"].shape[1],), words, joint_digest(*blocks))


def _rows_or_images(name: str, pairs: Mapping[str, Batch], classes: bool) -> Data:
    inputs, targets = pairs["train"]
    largest = max(int(y.max()) for _, y in pairs.values()) if classes else 0
    if classes and largest == 0:
        raise ValueError(f"data {name!r}: the class is 0 in every row: nothing to predict; give rows of others")
    if classes and inputs.dtype == torch.uint8 and inputs.ndim == 4:
        return image_data(pairs["train"], pairs["validation"], pairs["test"], largest + 1, {})
    rows: list[Split] = []
    for x, y in (pairs[split] for split in SPLITS):
        rows.append(Rows(x.float(), y.long() if classes else y.float().reshape(len(y), -1)))
    shape = tuple(inputs.shape[1:])
    outputs, loss = (largest + 1, "cross_entropy") if classes else (targets[0].numel(), "mse")
    train, validation, test = rows
    return Data("table", train, validation, test, shape, outputs, joint_digest(*rows), loss=loss)


def _pair(name: str, split: str, value: Any) -> tuple[Tensor, Tensor | None]:
    """Inputs and targets of a split as tensors; tokens have no targets."""
    parts = value if isinstance(value, tuple | list) else (value,)
    try:
        tensors = [part if isinstance(part, Tensor) else torch.from_numpy(np.array(part)) for part in parts]
    except (TypeError, ValueError) as error:
        raise ValueError(f"data {name!r}: the {split} split is no array ({error}); expected {ACCEPTED}") from error
    if len(tensors) not in (1, 2) or not all(each.ndim and len(each) == len(tensors[0]) > 0 for each in tensors):
        raise ValueError(f"data {name!r}: the {split} split is {', '.join(map(_told, tensors))}; expected {ACCEPTED}")
    tensors = [_usable(name, split, *each) for each in zip(("inputs", "targets"), tensors, strict=False)]
    inputs = tensors[0].unsqueeze(1) if tensors[0].ndim == 1 else tensors[0]
    return inputs, tensors[1] if len(tensors) == 2 else None


def _usable(name: str, split: str, what: str, tensor: Tensor) -> Tensor:
    """Real, finite numbers; unsigned ones of more than a byte, with which torch does not compute, as int64."""
    if tensor.is_complex():
        raise ValueError(
            f"data {name!r}: {what} of {split} are {_told(tensor)}; give real and imaginary parts as two real numbers"
        )
    if tensor.is_floating_point():
        wrong = ~tensor.float().isfinite()
        if count := int(wrong.sum()):
            first = int(wrong.reshape(len(wrong), -1).any(1).to(torch.uint8).argmax())
            raise ValueError(
                f"data {name!r}: {count:,} of {wrong.numel():,} numbers in {what} of {split} are no finite float32, "
                f"the first in example {first + 1}; correct or leave them out"
            )
    return tensor.long() if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64) else tensor


def _told(tensor: Tensor | None) -> str:
    return "no targets" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
