"""Vision data sets: one function each, registered in ``nino.tasks.registry``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nino.seeding import derive
from nino.specs import DataSpec
from nino.tasks.data import Data, image_data


def digits(spec: DataSpec, data_dir: Path, download: bool = False) -> Data:
    """The 1,797 real handwritten digits of 8 x 8 pixels that ship with scikit-learn (UCI Optical Recognition, 1998).

    A fixed split, stratified by class: 60 % train, 10 % validation, 30 % test.

    Args:
        spec: source ``embedded``.
        data_dir: unused, nothing is stored.
        download: unused, nothing is downloaded.

    Returns:
        Images of 1 x 8 x 8, 10 classes.
    """
    from sklearn.datasets import load_digits

    expect_source(spec, "embedded")
    bunch = load_digits()
    images = torch.from_numpy(bunch.images.astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    parts = stratified(labels, (0.6, 0.1, 0.3), seed=0)
    train, validation, test = [(images[i], labels[i]) for i in parts]
    return image_data(train, validation, test, 10, {"source": "scikit-learn load_digits"})


def stratified(labels: Tensor, fractions: tuple[float, ...], seed: int) -> list[Tensor]:
    """Split indices so that every part holds (nearly) the same share of every class.

    Args:
        labels: (n,) long.
        fractions: shares of the parts, summing to 1.
        seed: of the shuffle inside each class.

    Returns:
        One sorted (n_i,) long tensor of indices a part; together every index once.

    >>> [len(part) for part in stratified(torch.tensor([0, 1] * 10), (0.6, 0.1, 0.3), seed=0)]
    [12, 2, 6]
    """
    generator = torch.Generator().manual_seed(derive(seed, "data"))
    parts: list[list[Tensor]] = [[] for _ in fractions]
    bounds = np.concatenate([[0.0], np.cumsum(fractions)])
    bounds[-1] = 1.0
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        cuts = [round(float(b) * len(members)) for b in bounds]
        for part, start, stop in zip(parts, cuts[:-1], cuts[1:], strict=True):
            part.append(members[start:stop])
    return [torch.cat(part).sort().values for part in parts]


def expect_source(spec: DataSpec, *allowed: str) -> None:
    """Raise a ``ValueError`` unless the data set can come from ``spec.source``."""
    if spec.source not in allowed:
        raise ValueError(f"data.source is {spec.source!r}, but {spec.name!r} comes from: {', '.join(allowed)}")
