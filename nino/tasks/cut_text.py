"""A text without splits, or without some of them: it is cut into consecutive parts."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from nino.files import path_below, sums_below
from nino.specs import DataSpec
from nino.specs.data_options import UserTextOptions
from nino.specs.local_files import SPLITS, split_files
from nino.tasks.splitting import shares
from nino.tasks.text import TextFiles, parquet_rows

NEXT_SPACE = 4096  # bytes in which white space is looked for where a text is cut


class Part(NamedTuple):
    """A stretch of a file: of its bytes, unpacked, or of the rows of a Parquet file."""

    path: Path
    start: int
    stop: int


@dataclass(frozen=True)
class CutText:
    """A text in three splits, some of which are parts of the same file.

    Args:
        parts: of each split, in order.
        row: turns a line of a text file, newline included, into a row.
        column: of Parquet files that holds the text.
        folder: what the files' names in records are relative to.
    """

    parts: Mapping[str, tuple[Part, ...]]
    row: Callable[[str], str]
    column: str
    folder: Path

    def rows(self, split: str) -> Iterator[str]:
        """The rows of a split, in order.

        Raises:
            ValueError: for a file that is no UTF-8 text, or a Parquet file without the column.
        """
        for part in self.parts[split]:
            if part.path.suffix == ".parquet":
                yield from parquet_rows(part.path, self.column, part.start, part.stop)
            else:
                yield from map(self.row, _lines(part))

    def checksums(self) -> dict[str, str]:
        """SHA-256 of every file, by its path below the folder."""
        return sums_below(self.folder, sorted({part.path for split in SPLITS for part in self.parts[split]}))

    def identity(self, checksums: Mapping[str, str]) -> str:
        """SHA-256 over what every split is made of, and the way lines become rows."""
        parts = [
            f"{split}:{checksums[path_below(self.folder, part.path)]}:{part.start}-{part.stop}"
            for split in SPLITS
            for part in self.parts[split]
        ]
        return hashlib.sha256("\n".join([self.row.__name__, self.column, *parts]).encode()).hexdigest()


def user_text(
    spec: DataSpec, options: UserTextOptions, row: Callable[[str], str], folder: Path, *, partial: bool = False
) -> TextFiles | CutText:
    """The text that a data set of one's own names.

    Splits without files are cut from the end of the training split, validation before test: texts go on, so the parts
    are consecutive. A text file is cut behind the first white space from the place on, a Parquet file between rows.

    Args:
        spec: source ``text``, ``parquet`` or ``hub``.
        options: its options.
        row: turns a line into a row.
        folder: file or folder.
        partial: whether a folder may hold files of some of the splits only.

    Returns:
        The text; a split may be empty.

    Raises:
        FileNotFoundError: where a file is missing; says which belongs where.
        ValueError: for files that do not go together, or parts that leave nothing.
    """
    files = split_files(spec, folder, partial=partial)
    absent = [split for split in ("validation", "test") if split not in files]
    if not absent:
        return TextFiles(files, row, folder, options.column)
    parts = {split: tuple(Part(path, 0, _length(path)) for path in files[split]) for split in files}
    whole = parts["train"]
    train, validation, _ = shares(spec.name, options.cut, absent)
    total = sum(part.stop for part in whole)
    ends = [0, *(_place(whole, round(share * total)) for share in (train, train + validation)), total]
    for split, start, stop in zip(SPLITS, ends[:-1], ends[1:], strict=True):
        if split not in files or split == "train":
            parts[split] = tuple(_stretch(whole, start, stop))
    return CutText(parts, row, options.column, folder)


def _stretch(parts: tuple[Part, ...], start: int, stop: int) -> Iterator[Part]:
    """What lies between two places of the text that parts make together."""
    offset = 0
    for part in parts:
        first, last = max(start - offset, 0), min(stop - offset, part.stop)
        if first < last:
            yield Part(part.path, first, last)
        offset += part.stop


def _place(parts: tuple[Part, ...], place: int) -> int:
    """Where a text is cut: behind the next white space, so that no word and no letter is torn."""
    for part in _stretch(parts, place, place + NEXT_SPACE):
        if part.path.suffix == ".parquet":
            return place
        with _open(part.path) as stream:
            stream.seek(part.start)
            ahead = stream.read(NEXT_SPACE)
        if found := re.search(rb"\r\n|\s", ahead) or re.search(rb"(?=[^\x80-\xbf])", ahead):
            return place + found.end()
    return place


def _open(path: Path) -> IO[bytes]:
    stream: IO[bytes] = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[assignment]
    return stream


def _length(path: Path) -> int:
    """Rows of a Parquet file, bytes of a text, unpacked."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows: int = pq.read_metadata(path).num_rows
        return rows
    if path.suffix != ".gz":
        return path.stat().st_size
    with _open(path) as stream:
        return sum(len(piece) for piece in iter(lambda: stream.read(2**20), b""))


def _lines(part: Part) -> Iterator[str]:
    """The lines of a stretch; the last may end within one."""
    with _open(part.path) as stream:
        stream.seek(part.start)
        left = part.stop - part.start
        while left > 0 and (line := stream.readline(left)):
            left -= len(line)
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                at = part.stop - left - len(line) + error.start
                raise ValueError(
                    f"{part.path}: no UTF-8 text (byte {at} is {line[error.start]:#04x}); save it as UTF-8"
                ) from error
            yield text
