"""Splitting a data set that has no splits: at random, every class by itself, with a seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nino.seeding import derive
from nino.specs.data_options import Cut, Draw
from nino.specs.local_files import SPLITS


def shares(name: str, cut: Cut, absent: Sequence[str]) -> tuple[float, float, float]:
    """The shares of the training split's rows that go to train, validation and test.

    Args:
        name: of the data set, for messages.
        cut: the share that each split gets if it is absent.
        absent: the splits that have no rows of their own.

    Raises:
        ValueError: where nothing would be left for training, or a split would be empty.

    >>> shares("x", Cut(validation=0.25, test=0.5), ["validation"])
    (0.75, 0.25, 0.0)
    """
    parts = {split: float(getattr(cut, split)) if split in absent else 0.0 for split in ("validation", "test")}
    rest = 1.0 - sum(parts.values())
    key = "draw" if isinstance(cut, Draw) else "cut"
    if rest <= 1e-9:
        raise ValueError(
            f"data {name!r}: data.options.{key} gives {parts['validation']:g} to validation and {parts['test']:g} to "
            "test and leaves nothing for training; together they must be less than 1"
        )
    for split in absent:
        if not parts[split]:
            raise ValueError(
                f"data {name!r} has no {split} split, and data.options.{key}.{split} is 0; give it files or a share"
            )
    return rest, parts["validation"], parts["test"]


def drawn(name: str, labels: Tensor | None, count: int, draw: Draw, absent: Sequence[str]) -> dict[str, Tensor]:
    """Split rows at random; with ``labels``, the same share of every class.

    Args:
        name: of the data set, for messages.
        labels: (count,) long classes; None where there are none.
        count: number of rows.
        draw: shares and seed.
        absent: the splits, beside train, that get a part.

    Returns:
        The sorted rows of train and of ``absent``; together every row once.

    Raises:
        ValueError: where a split would be empty.
    """
    if not absent:
        return {"train": torch.arange(count)}
    fractions = shares(name, draw, absent)
    classes = torch.zeros(count, dtype=torch.long) if labels is None else labels
    parts = dict(zip(SPLITS, _in_shares(classes, fractions, draw.seed), strict=True))
    for split in ("train", *absent):
        if not len(parts[split]):
            raise ValueError(
                f"data {name!r}: {count} examples are too few: the {split} split would be empty; add examples, or give "
                f"it a larger share in data.options.draw"
            )
    return {split: rows for split, rows in parts.items() if split == "train" or split in absent}


def _in_shares(labels: Tensor, fractions: Sequence[float], seed: int) -> list[Tensor]:
    """Split rows at random such that both the whole and every class come as near to the shares as they can.

    Each row, class by class, goes to the part that lacks most of its share so far, the first of a class to the first
    part. Rounding every class by itself would leave parts empty where all classes are small.

    >>> [len(part) for part in _in_shares(torch.arange(40) // 4, (0.8, 0.1, 0.1), seed=0)]
    [32, 4, 4]
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(derive(seed, "split")))
    order = order[labels[order].argsort(stable=True)]
    parts: list[list[int]] = [[] for _ in fractions]
    previous = None
    for i, (row, label) in enumerate(zip(order.tolist(), labels[order].tolist(), strict=True), start=1):
        lacks = [share * i - len(part) for share, part in zip(fractions, parts, strict=True)]
        parts[0 if label != previous else lacks.index(max(lacks))].append(row)
        previous = label
    return [torch.tensor(sorted(part), dtype=torch.long) for part in parts]
