"""Rows of text from local files: plain or gzipped lines, or Parquet."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from nino.files import path_below, sums_below
from nino.specs import DataSpec
from nino.specs.data_options import SUFFIXES
from nino.specs.local_files import SPLITS


@dataclass(frozen=True)
class TextFiles:
    """The files of a data set's splits.

    Args:
        files: the files of each split, in their order.
        row: turns a line of a text file, newline included, into a row; Parquet files hold rows already.
        folder: what the files' names in records are relative to.
        column: of Parquet files that holds the rows.
    """

    files: Mapping[str, tuple[Path, ...]]
    row: Callable[[str], str]
    folder: Path
    column: str = "text"

    def rows(self, split: str) -> Iterator[str]:
        """The rows of a split, in order.

        Raises:
            ValueError: for a file that is no UTF-8 text, or a Parquet file without the column.
        """
        ends = "\n" if self.row is exact_row else None  # None: those of Windows and of old Macs become newlines
        for path in self.files[split]:
            if path.suffix == ".parquet":
                yield from parquet_rows(path, self.column)
                continue
            opened = gzip.open if path.suffix == ".gz" else open
            try:
                with opened(path, "rt", encoding="utf-8", newline=ends) as lines:
                    yield from map(self.row, lines)
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}: no UTF-8 text ({error.reason}); save it as UTF-8") from error

    def checksums(self) -> dict[str, str]:
        """SHA-256 of every file, by its path below the folder: files of two splits may share a name."""
        return sums_below(self.folder, chain.from_iterable(self.files[split] for split in SPLITS))

    def identity(self, checksums: Mapping[str, str]) -> str:
        """SHA-256 over the files' checksums, split by split, and the way their lines become rows."""
        parts = [
            f"{split}:{checksums[path_below(self.folder, path)]}" for split in SPLITS for path in self.files[split]
        ]
        rows = [self.row.__name__, *([] if self.column == "text" else [self.column])]
        return hashlib.sha256("\n".join([*rows, *parts]).encode()).hexdigest()


def wiki_row(line: str) -> str:
    r"""A line of WikiText as its Parquet release has it: blank lines empty, others with a newline.

    >>> wiki_row(" = Title = \n"), wiki_row(" \n"), wiki_row("Windows\r\n")
    (' = Title = \n', '', 'Windows\n')
    """
    return line.replace("\r\n", "\n") if line.strip() else ""


def exact_row(line: str) -> str:
    r"""A line as it stands, its end included.

    The function's name is part of a text's identity, which tells its tokens from those that an earlier version made
    without ``\r``.

    >>> exact_row(" \r\n")
    ' \r\n'
    """
    return line


def sentence_row(line: str) -> str:
    r"""A line of LM1B as its Parquet release has it: without its newline.

    >>> sentence_row("A sentence .\n")
    'A sentence .'
    """
    return line.strip()


def text_folder(spec: DataSpec, data_dir: Path) -> Path:
    """The folder of a text data set's files."""
    return Path(spec.path) if spec.path and spec.source != "hub" else data_dir / spec.name


def local_files(spec: DataSpec, data_dir: Path) -> TextFiles:
    """The files of a published text; errors are those of `find_files`."""
    row = sentence_row if spec.name == "lm1b" else wiki_row
    source = "text" if spec.source == "text" else "parquet"
    return find_files(spec.name, source, text_folder(spec, data_dir), spec.options.get("files", {}), row)


def find_files(
    name: str, source: str, folder: Path, given: Mapping[str, str | list[str]], row: Callable[[str], str]
) -> TextFiles:
    """The files of each split: those the config names, else those in ``folder`` whose names start with the split's.

    Args:
        name: of the data set, for messages.
        source: ``text`` (.txt, .txt.gz) or ``parquet``.
        folder: where the files are.
        given: file name(s) of a split relative to ``folder``, for ``train``, ``validation`` and ``test``; may be empty.
        row: turns a line into a row.

    Returns:
        The files; every split has at least one.

    Raises:
        ValueError: for a split of another name.
        FileNotFoundError: where a split has no file; says which belongs where.
    """
    for split in given:
        if split not in SPLITS:
            raise ValueError(f"data {name!r}: data.options.files names {split!r}; allowed are {', '.join(SPLITS)}")
    files = {}
    for split in SPLITS:
        named = given.get(split)
        if named is None:
            files[split] = tuple(sorted(p for suffix in SUFFIXES[source] for p in folder.glob(f"{split}*{suffix}")))
        else:
            files[split] = tuple(folder / file for file in ([named] if isinstance(named, str) else named))
        absent = [path for path in files[split] if not path.is_file()]
        if absent or not files[split]:
            suffixes = " or ".join(SUFFIXES[source])
            raise FileNotFoundError(
                f"data {name!r} has no {split} split: no file {absent[0] if absent else folder / f'{split}*'}; put "
                f"{split}*{suffixes} into {folder}, or name the files in data.path and data.options.files, or run "
                f"`nino data` with network access and data.source: hub"
            )
    return TextFiles(files, row, folder)


def parquet_rows(path: Path, column: str = "text", start: int = 0, stop: int | None = None) -> Iterator[str]:
    """The rows ``start <= i < stop`` of a Parquet file's column of texts.

    Raises:
        ValueError: for a file without that column, or one that holds no texts.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if column not in file.schema_arrow.names:
            raise ValueError(f"{path}: no column {column!r}, found {', '.join(file.schema_arrow.names)}")
        first = 0
        for batch in file.iter_batches(columns=[column]):
            rows = batch.column(0).to_pylist()
            for row in rows[max(start - first, 0) : None if stop is None else max(stop - first, 0)]:
                if not isinstance(row, str):
                    raise ValueError(f"{path}: column {column!r} holds {row!r}, which is no text")
                yield row
            first += len(rows)
