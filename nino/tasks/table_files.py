"""Tables as their files have them: CSV or Parquet, read whole, rows with missing values found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nino.specs import suggest
from nino.specs.local_files import SPLITS

Table = Any
"""A ``pyarrow.Table``: the package is imported only where tables are read."""


@dataclass(frozen=True)
class SplitTable:
    """The rows of all splits in one table, in the order of the splits.

    Args:
        name: of the data set, for messages.
        rows: the columns that are used.
        sizes: rows of each split that has files.
    """

    name: str
    rows: Table
    sizes: Mapping[str, int]

    def column(self, name: str) -> Any:
        """A column, in one piece."""
        return self.rows.column(name).combine_chunks()


def read_tables(
    name: str, files: Mapping[str, Sequence[Path]], target: Sequence[str], features: Sequence[str] | None, missing: str
) -> tuple[SplitTable, list[str]]:
    """Read the files of the splits.

    Args:
        name: of the data set, for messages.
        files: of each split.
        target: columns that are predicted.
        features: columns that they are predicted from; None takes all others of the first file.
        missing: ``drop`` leaves rows out in which a value is missing, ``error`` refuses them, ``fill`` keeps them; a
            missing target is always refused, unless rows are dropped.

    Returns:
        The table, and the names of the features.

    Raises:
        ValueError: for a file that is no table, lacks a column or has no rows, or for missing values.
    """
    import pyarrow as pa

    tables, sizes = [], {}
    for split in (each for each in SPLITS if each in files):
        parts = [read_table(name, path) for path in files[split]]
        for path, part in zip(files[split], parts, strict=True):
            _require_columns(name, path, part, target, "data.options.target")
            if features is None:
                features = [column for column in part.column_names if column not in target]
            _require_columns(name, path, part, features, "data.options.features")
        if both := [column for column in features or () if column in target]:
            raise ValueError(
                f"data {name!r}: column {both[0]!r} is both target and feature; take it out of one of them"
            )
        if not features:
            raise ValueError(f"data {name!r}: {files[split][0]} has no column beside the target; add features")
        selected = [part.select([*features, *target]) for part in parts]
        for path, part in zip(files[split], selected, strict=True):
            _require_utf8(name, path, part)
        parts = [_without_missing(name, *each, target, missing) for each in zip(files[split], selected, strict=True)]
        tables += parts
        sizes[split] = sum(len(part) for part in parts)
        if not sizes[split]:
            reason = "no rows" if not sum(map(len, selected)) else "no row without a missing value"
            raise ValueError(f"data {name!r}: {', '.join(map(str, files[split]))}: {reason}; give it some")
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(
            f"data {name!r}: its files do not go together ({' '.join(str(error).split())}): a column must hold numbers "
            "in all of them, or text"
        ) from error
    return SplitTable(name, whole, sizes), list(features or ())


def read_table(name: str, path: Path) -> Table:
    """A CSV file with a header (comma; ``.tsv``: tab; ``.gz``: unpacked), or a Parquet file.

    Empty fields, ``NA``, ``NaN``, ``null`` and the like are missing values.

    Raises:
        ValueError: for a file that is neither; names it and says what is wrong.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            table = pa.parquet.read_table(path)
        elif path.stat().st_size == 0:
            raise ValueError("it is empty")
        else:
            separator = "\t" if ".tsv" in path.suffixes else ","
            table = pa.csv.read_csv(
                str(path),
                # one block: a column's type follows from all of its values, not from those of the first megabyte
                read_options=pa.csv.ReadOptions(use_threads=False, block_size=2**31 - 1),
                parse_options=pa.csv.ParseOptions(delimiter=separator),
                convert_options=pa.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False),
            )
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"data {name!r}: {path} cannot be read as a table: {' '.join(str(error).split())}") from error
    try:
        names = table.column_names
    except UnicodeDecodeError as error:
        raise ValueError(f"data {name!r}: {path}: its header is no UTF-8 text; save it as UTF-8") from error
    if twice := {column for column in names if names.count(column) > 1}:
        raise ValueError(f"data {name!r}: {path} has two columns {min(twice)!r}; rename one")
    return table


def _require_columns(name: str, path: Path, table: Table, columns: Iterable[str], key: str) -> None:
    for column in columns:
        if column not in table.column_names:
            allowed = suggest(column, table.column_names)
            raise ValueError(f"data {name!r}: {path} has no column {column!r}, which {key} names; {allowed}")


def _require_utf8(name: str, path: Path, table: Table) -> None:
    """Refuse columns of a CSV file that Arrow keeps as bytes since they are no UTF-8; in Parquet bytes are a type."""
    import pyarrow as pa

    for column in table.column_names if path.suffix != ".parquet" else ():
        if pa.types.is_binary(table.column(column).type):
            raise ValueError(f"data {name!r}: {path}: column {column!r} is no UTF-8 text; save the file as UTF-8")


def missing_in(column: Any) -> NDArray[np.bool_]:
    """Which values of a column are missing: nulls and NaN."""
    import pyarrow.compute as pc

    missing: NDArray[np.bool_] = pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)
    return missing


def _without_missing(name: str, path: Path, table: Table, target: Sequence[str], missing: str) -> Table:
    """The table without rows that lack a value, where these are dropped; else an error that counts them."""
    import pyarrow as pa

    lacks = np.zeros(len(table), bool)
    for column in table.column_names:
        empty = missing_in(table.column(column))
        lacks |= empty
        if missing == "drop" or not empty.any() or (missing == "fill" and column not in target):
            continue
        advice = "data.options.missing: drop, or fill" if column not in target else "data.options.missing: drop"
        raise ValueError(
            f"data {name!r}: {path}: column {column!r} lacks {empty.sum():,} of {len(table):,} values, the first in "
            f"row {int(empty.argmax()) + 1} below the header; fill them in, or set {advice}"
        )
    return table.filter(pa.array(~lacks)) if missing == "drop" else table
