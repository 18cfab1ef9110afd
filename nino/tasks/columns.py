"""Columns of a table as numbers: standardised, one-hot, or the codes of categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nino.tasks.table_files import SplitTable, missing_in

Floats = NDArray[np.float64]
MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class Encoded:
    """A column, or the targets, as numbers.

    Args:
        values: (n, width) float64, before they are standardised.
        numeric: whether they are numbers or codes, which may be standardised, not zeros and ones.
        categories: in sorted order; None for numbers.
        unseen: values of the other splits that the training split has not.
    """

    values: Floats
    numeric: bool
    categories: list[str] | None = None
    unseen: int = 0


def encode_feature(table: SplitTable, name: str, train: NDArray[np.int64], categorical: bool, encoding: str) -> Encoded:
    """A column as features.

    Numbers stay what they are, yes and no become 1 and 0, texts are categories. Categories are those of the training
    split; a value that does not occur there becomes all zeros, or code -1. A missing number is replaced by the training
    split's mean; missing values of a categorical column form a category of their own.

    Args:
        table: the rows of all splits.
        name: of the column.
        train: rows of the training split.
        categorical: whether numbers name categories.
        encoding: ``one-hot`` or ``codes``.

    Raises:
        ValueError: for a column of another type, numbers that are not finite, or too many categories.
    """
    column = table.column(name)
    if not categorical and (numbers := _numbers(table.name, name, column)) is not None:
        empty = missing_in(column)
        if empty[train].all():
            raise ValueError(
                f"data {table.name!r}: column {name!r} has no value in the training split; leave it out of "
                "data.options.features"
            )
        numbers[empty] = numbers[train][~empty[train]].mean()
        return Encoded(numbers[:, None], numeric=True)
    labels = _labels(table.name, name, column)
    categories, codes = _codes(labels, train)
    if len(categories) > MOST_CATEGORIES and encoding == "one-hot":
        raise ValueError(
            f"data {table.name!r}: column {name!r} names {len(categories):,} categories, a feature each; leave it out "
            f"of data.options.features, or set data.options.encoding: codes (at most {MOST_CATEGORIES:,} one-hot)"
        )
    unseen = int((codes < 0).sum())
    if encoding == "codes":
        return Encoded(codes[:, None].astype(np.float64), True, categories, unseen)
    return Encoded((codes[:, None] == np.arange(len(categories))).astype(np.float64), False, categories, unseen)


def encode_classes(table: SplitTable, name: str) -> tuple[NDArray[np.int64], list[str]]:
    """The target column as classes 0, 1, ... in the sorted order of its labels, whatever their type.

    Raises:
        ValueError: for a single class, and for what seems to be a number to predict: fractions, or too many classes.
    """
    column = table.column(name)
    numbers = _numbers(table.name, name, column)
    if numbers is not None and (numbers % 1).any():
        odd = numbers[numbers % 1 != 0][0]
        raise ValueError(
            f"data {table.name!r}: target {name!r} holds {odd:g}, a number and no class; set data.options.predict: "
            "number, or name another column in data.options.target"
        )
    classes, codes = _codes(_labels(table.name, name, column), np.arange(len(column)))
    if len(classes) < 2:
        raise ValueError(
            f"data {table.name!r}: target {name!r} is {classes[0]!r} in every row: one class, nothing to predict; name "
            "another column in data.options.target"
        )
    if len(classes) > max(len(column) // 2, 2):
        raise ValueError(
            f"data {table.name!r}: target {name!r} has {len(classes):,} classes in {len(column):,} rows; for a number "
            "set data.options.predict: number, else name another column in data.options.target"
        )
    return codes, classes


def encode_numbers(table: SplitTable, names: Sequence[str]) -> Floats:
    """The target columns as numbers (n, outputs).

    Raises:
        ValueError: for a column of something else, or one that is the same in every row.
    """
    columns = []
    for name in names:
        numbers = _numbers(table.name, name, table.column(name))
        if numbers is None:
            raise ValueError(
                f"data {table.name!r}: target {name!r} holds no numbers; set data.options.predict: class, or name "
                "another column in data.options.target"
            )
        if (numbers == numbers[0]).all():
            raise ValueError(
                f"data {table.name!r}: target {name!r} is {numbers[0]:g} in every row: nothing to predict; name "
                "another column in data.options.target"
            )
        columns.append(numbers)
    return np.stack(columns, axis=1)


def standardised(values: Floats, train: NDArray[np.int64]) -> tuple[NDArray[np.float32], Floats, Floats]:
    """Mean 0 and deviation 1 in the training split; a column that is constant there becomes 0 there.

    Returns:
        ``(values - mean) / deviation`` as float32, the means and the deviations.
    """
    mean, deviation = values[train].mean(0), values[train].std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return ((values - mean) / deviation).astype(np.float32), mean, deviation


def _numbers(data: str, name: str, column: Any) -> Floats | None:
    """A column of numbers or of yes and no, missing values NaN; None for texts."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif _is_text(kind):
        return None
    elif not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or kind == pa.null()
    ):
        raise ValueError(
            f"data {data!r}: column {name!r} holds values of type {kind}; allowed are numbers, texts, yes and no: "
            "leave it out of data.options.features, or save it as one of these"
        )
    values: Floats = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    values = np.array(values)  # of its own: Arrow's memory is read-only
    wrong = np.isinf(values) | (np.abs(values) > np.finfo(np.float32).max)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"data {data!r}: column {name!r} holds {values[row]} in row {row + 1}, which is no finite float32; correct "
            "or remove it"
        )
    return values


def _labels(data: str, name: str, column: Any) -> list[Any]:
    """The values of a column of categories, missing ones the empty text; whole numbers are integers."""
    values = column.to_pylist()
    if _is_text(column.type):
        return ["" if value is None else value for value in values]
    _numbers(data, name, column)  # refuses what is neither; its own are too coarse for whole numbers beyond 2^53
    numbers = zip(values, missing_in(column), strict=True)
    return ["" if gone else int(value) if value == int(value) else float(value) for value, gone in numbers]


def _codes(labels: Sequence[Any], train: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """The sorted categories of the training rows, numbers before texts, and each row's number; -1 for others."""
    seen = sorted({labels[row] for row in train}, key=lambda label: (isinstance(label, str), label))
    number = {label: i for i, label in enumerate(seen)}
    return [str(label) for label in seen], np.array([number.get(label, -1) for label in labels], np.int64)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
