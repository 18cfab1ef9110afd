"""Tables: rows of a CSV or Parquet file, a class or numbers to be predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nino.files import sums_below
from nino.specs import DataSpec
from nino.specs.data_options import TableOptions
from nino.specs.local_files import SPLITS, split_files
from nino.tasks.columns import encode_classes, encode_feature, encode_numbers, standardised
from nino.tasks.data import Data, Rows, joint_digest, tensor_digest
from nino.tasks.hub import fetched
from nino.tasks.splitting import drawn
from nino.tasks.table_files import SplitTable, read_tables
from nino.tasks.vision import expect_source


def table(spec: DataSpec, data_dir: Path, download: bool = False) -> Data:
    """A table from CSV or Parquet files, or from the hub.

    Args:
        spec: source ``csv``, ``parquet`` (``path`` names a file or folder) or ``hub`` (option ``repository``); option
            ``target`` names the column to be predicted, the others are those of `nino.specs.data_options.TableOptions`.
        data_dir: where files from the hub are kept.
        download: whether the hub may be asked.

    Returns:
        Rows of features (n, features) float32; targets are classes, or numbers (n, outputs) float32. The checksum is
        over values before they are standardised, so it does not depend on how a machine adds them up.

    Raises:
        FileNotFoundError: where a file is missing; says which belongs where.
        ValueError: for another source or option, and for values that no model can be trained on.
    """
    expect_source(spec)
    options = TableOptions.under("data.options", spec.options)
    targets = [options.target] if isinstance(options.target, str) else list(options.target)
    if options.predict == "class" and len(targets) != 1:
        raise ValueError(
            f"data {spec.name!r}: data.options.target names {len(targets)} columns; several can be predicted as "
            "numbers only: set data.options.predict: number, or name one"
        )
    hub = spec.source == "hub"
    folder = fetched(spec, options, data_dir, download) if hub else Path(spec.path or "")
    files = split_files(spec, folder if hub else None, partial=hub)
    rows, features = read_tables(spec.name, files, targets, options.features, options.missing)
    outcome = _classes(rows, targets[0], options) if options.predict == "class" else _numbers(rows, targets, options)
    inputs, before, columns = _features(rows, features, outcome.parts["train"], options)
    splits = [
        Rows(inputs[part], outcome.ready[part], tensor_digest(before[part], outcome.raw[part]))
        for part in (torch.from_numpy(outcome.parts[split]) for split in SPLITS)
    ]
    checksums = sums_below(folder, chain.from_iterable(files.values()))
    facts = {"source": spec.source, "files": checksums, "features": columns, **outcome.facts}
    shape, checksum = (inputs.shape[1],), joint_digest(*splits)
    return Data("table", splits[0], splits[1], splits[2], shape, outcome.outputs, checksum, facts, outcome.loss)


class Outcome(NamedTuple):
    """What is to be predicted, and which rows are in which split.

    Args:
        parts: the rows of each split.
        raw: as the file has it: classes (n,) long, or numbers (n, outputs) float64.
        ready: as the model is to give it: classes, or numbers float32, standardised where asked for.
        outputs: of the model.
        loss: that goes with it.
        facts: recorded with the data.
    """

    parts: Mapping[str, NDArray[np.int64]]
    raw: Tensor
    ready: Tensor
    outputs: int
    loss: str
    facts: Mapping[str, Any]


def _classes(table: SplitTable, target: str, options: TableOptions) -> Outcome:
    classes, names = encode_classes(table, target)
    parts = _split(table, classes, options)
    if unseen := {*range(len(names))} - {*classes[parts["train"]].tolist()}:
        raise ValueError(
            f"data {table.name!r}: class {names[min(unseen)]!r} of target {target!r} is not in the training split; "
            "give it rows of that class, or take them out of the other splits"
        )
    labels = torch.from_numpy(classes)
    return Outcome(parts, labels, labels, len(names), "cross_entropy", {"classes": names})


def _numbers(table: SplitTable, targets: Sequence[str], options: TableOptions) -> Outcome:
    numbers = encode_numbers(table, targets)
    parts, facts = _split(table, None, options), {}
    ready = numbers.astype(np.float32)
    if options.standardise == "all":
        ready, mean, deviation = standardised(numbers, parts["train"])
        facts = {"target_mean": mean.tolist(), "target_std": deviation.tolist()}
    return Outcome(parts, torch.from_numpy(numbers), torch.from_numpy(ready), len(targets), "mse", facts)


def _split(table: SplitTable, classes: NDArray[np.int64] | None, options: TableOptions) -> dict[str, NDArray[np.int64]]:
    """The rows of each split: those of its files, else drawn from the training split's."""
    starts = np.cumsum([0, *table.sizes.values()])
    parts = {split: np.arange(*starts[i : i + 2]) for i, split in enumerate(table.sizes)}
    absent = [split for split in ("validation", "test") if split not in parts]
    labels = None if classes is None else torch.from_numpy(classes[parts["train"]])
    rows_of = drawn(table.name, labels, len(parts["train"]), options.draw, absent)
    return {**parts, **{split: rows.numpy() for split, rows in rows_of.items()}}


def _features(
    table: SplitTable, names: Sequence[str], train: NDArray[np.int64], options: TableOptions
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """The features (n, features) float32, the same before they are standardised, and what each column became."""
    categorical = options.categorical or ()
    if unknown := [column for column in categorical if column not in names]:
        raise ValueError(
            f"data {table.name!r}: data.options.categorical names {unknown[0]!r}, which is no feature; features are "
            f"{', '.join(names)}"
        )
    encoded = {name: encode_feature(table, name, train, name in categorical, options.encoding) for name in names}
    ready = [
        standardised(each.values, train)[0] if options.standardise != "none" and each.numeric else each.values
        for each in encoded.values()
    ]
    told: dict[str, Any] = {}
    for name, column in encoded.items():
        told[name] = "number" if column.categories is None else {"categories": column.categories}
        if column.unseen:
            told[name]["unseen"] = column.unseen  # values that are no category: the training split has none of them
    before = np.concatenate([each.values for each in encoded.values()], axis=1)
    return torch.from_numpy(np.concatenate(ready, axis=1).astype(np.float32)), torch.from_numpy(before), told
