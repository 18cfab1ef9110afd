"""Blocks of tokens, made once and kept as memory-mapped arrays."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from nino.files import replacing_folder, write_text
from nino.leases import lease, sweep
from nino.specs.local_files import SPLITS
from nino.tasks.checked_pieces import Pieces, damaged, measure
from nino.tasks.data import Blocks

logger = logging.getLogger(__name__)

Encode = Callable[[list[str]], Sequence[Sequence[int]]]

META = "meta.json"
# Increased whenever the same text and tokenizer would give other blocks.
FORMAT = 1


def cut_blocks(rows: Iterable[str], encode: Encode, block: int, group: int) -> Iterator[NDArray[np.int64]]:
    """Tokens in blocks, as transformers' ``run_clm`` makes them.

    Rows are tokenized one by one, without any token between them; the tokens of ``group`` consecutive rows are
    concatenated and cut into blocks, and what fills no block is dropped (once a group, as there).

    Args:
        rows: of text.
        encode: token ids of each of several rows.
        block: tokens a block.
        group: rows that are concatenated.

    Yields:
        (n, block) arrays, one a group, n may be 0.

    >>> [b.tolist() for b in cut_blocks(["abc", "de", "fghi"], lambda rows: [list(r.encode()) for r in rows], 2, 2)]
    [[[97, 98], [99, 100]], [[102, 103], [104, 105]]]
    """
    iterator = iter(rows)
    while batch := list(islice(iterator, group)):
        tokens = np.fromiter((token for row in encode(batch) for token in row), dtype=np.int64)
        count = len(tokens) // block
        yield tokens[: count * block].reshape(count, block)


def cached_blocks(
    folder: Path, key: dict[str, Any], rows: Callable[[str], Iterable[str]], encode: Encode, vocabulary: int
) -> dict[str, Blocks]:
    """The token blocks of all splits, from ``folder`` or made and kept there.

    A cache is one folder, renamed into place when whole. Where another process makes it, on whatever machine, it is
    waited for.

    Args:
        folder: of all caches.
        key: everything that the tokens depend on: ``source``, ``tokenizer``, ``block`` and ``group``, JSON values.
        rows: the rows of a split.
        encode: token ids of each of several rows.
        vocabulary: number of token ids; up to 65,536 they take two bytes each, else four.

    Returns:
        Blocks by split, memory-mapped.

    Raises:
        ValueError: where a split has no full block, or a cache is damaged. The returned `Blocks` raise it later if
            tokens that they read have changed.
    """
    name = hashlib.sha256(json.dumps({**key, "format": FORMAT}, sort_keys=True).encode()).hexdigest()[:20]
    path = folder / name
    dtype = np.dtype(np.uint16 if vocabulary <= 2**16 else np.int32)
    if not (path / META).is_file():
        with lease(path, wait=True) as held:
            if not (path / META).is_file():
                sweep(folder, name)
                with replacing_folder(path) as part:
                    _write_cache(part, key, rows, encode, dtype)
                    held.require()
    return _open_cache(path, key, dtype)


def _write_cache(
    folder: Path, key: dict[str, Any], rows: Callable[[str], Iterable[str]], encode: Encode, dtype: np.dtype[Any]
) -> None:
    splits = {}
    for split in SPLITS:
        groups = cut_blocks(rows(split), encode, key["block"], key["group"])
        shown = tqdm(groups, desc=f"tokenizing {split}", unit=f" x {key['group']} rows", disable=None)
        count, checksum = write_array(folder / f"{split}.npy", shown, key["block"], dtype)
        if count == 0:
            raise ValueError(
                f"the {split} split has fewer than {key['block']} tokens a group of {key['group']} rows: choose a "
                "smaller data.options.block, a larger data.options.group, or more text"
            )
        splits[split] = {"blocks": count, "sha256": checksum}
        logger.info("%s: %d blocks of %d tokens", split, count, key["block"])
    _write_meta(folder, key, splits, dtype)


def write_array(path: Path, parts: Iterable[NDArray[np.int64]], block: int, dtype: np.dtype[Any]) -> tuple[int, str]:
    """Write (n_i, block) parts one after the other as one ``.npy`` array, without holding them all.

    Args:
        path: the file.
        parts: integer arrays that fit ``dtype``.
        block: second dimension.
        dtype: of the file.

    Returns:
        Number of rows, and SHA-256 of the values' bytes.
    """
    digest = hashlib.sha256()
    count = 0
    with path.open("wb") as file:
        _write_header(file, (0, block), dtype)
        for part in parts:
            data = part.astype(dtype).tobytes()
            file.write(data)
            digest.update(data)
            count += len(part)
        start = file.tell() - count * block * dtype.itemsize
        file.seek(0)
        _write_header(file, (count, block), dtype)  # numpy leaves room in a header for the first dimension to grow
        assert file.tell() == start
    return count, digest.hexdigest()


def _write_header(file: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _write_meta(folder: Path, key: dict[str, Any], splits: dict[str, dict[str, Any]], dtype: np.dtype[Any]) -> None:
    """Describe the arrays, each with the digests of its pieces; they are read back for these.

    Raises:
        ValueError: for an array whose values have not the SHA-256 that ``splits`` says.
    """
    for split in SPLITS:
        path = folder / f"{split}.npy"
        array = _map(path, (splits[split]["blocks"], key["block"]), dtype)
        whole, rows, digests = measure(array)
        if whole != splits[split]["sha256"]:
            raise damaged(path, "its tokens are not those that were written")
        splits[split] |= {"piece": rows, "pieces": digests}
    meta = {"key": key, "splits": splits}
    write_text(folder / META, json.dumps(meta | {"digest": _digest(meta)}, indent=2))


def _digest(meta: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _open_cache(folder: Path, key: dict[str, Any], dtype: np.dtype[Any]) -> dict[str, Blocks]:
    """Map the arrays of a cache whose description is whole."""
    path = folder / META
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        sealed = meta.pop("digest", None)
        splits = {split: meta["splits"][split] for split in SPLITS}
        wrong = meta["key"] != key or not all({"blocks", "sha256"} <= entry.keys() for entry in splits.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, f"it does not describe one: {type(error).__name__} {error}") from error
    if wrong or (sealed is not None and sealed != _digest(meta)):
        raise damaged(path, "it is not what was written")
    if sealed is None:  # of an earlier version, which kept the digest of each whole array
        splits = {split: {name: splits[split][name] for name in ("blocks", "sha256")} for split in SPLITS}
        try:
            _write_meta(folder, key, splits, dtype)
        except OSError as error:
            logger.info("%s: checked; the digests of its pieces are not kept (%s)", folder, error)
    return {split: _open_blocks(folder / f"{split}.npy", splits[split], key["block"], dtype) for split in SPLITS}


def _open_blocks(path: Path, meta: dict[str, Any], block: int, dtype: np.dtype[Any]) -> Blocks:
    array = _map(path, (meta["blocks"], block), dtype)
    pieces = Pieces(path, array, meta["piece"], meta["pieces"])
    return Blocks(torch.from_numpy(array), checksum=meta["sha256"], pieces=pieces)


def _map(path: Path, shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        # copy on write: torch wants memory it could write to; nothing ever does
        array: NDArray[Any] = np.load(path, mmap_mode="c")
    except FileNotFoundError as error:
        raise damaged(path, "no such file") from error
    except OSError:  # not of the file's content
        raise
    except Exception as error:  # NumPy parses a header as Python: errors of many types, also of the tokenizer
        raise damaged(path, " ".join(str(error).split())) from error
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise damaged(path, f"{len(array)} blocks {array.dtype}{array.shape}, expected {dtype}{shape}")
    return array
