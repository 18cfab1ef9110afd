"""Tokenizers of transformers, from the hub or a local folder."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from nino.specs.data_options import TextOptions
from nino.tasks.tokens import Encode
from nino.tasks.torchvision_ops import declare_missing_operators

BYTES = "bytes"
# Those whose sizes are known before they are fetched.
VOCABULARIES = {BYTES: 256, TextOptions.tokenizer: 50_257, "meta-llama/Meta-Llama-3-8B": 128_256}


def load_tokenizer(name: str, data_dir: Path, download: bool) -> tuple[Encode, int, str]:
    """A tokenizer as a function.

    Args:
        name: ``bytes`` (of UTF-8, needs no files), a local folder (``vocab.json`` and ``merges.txt``, or
            ``tokenizer.json``), else a name on the hub.
        data_dir: where a downloaded tokenizer is kept.
        download: whether it may be fetched from the hub.

    Returns:
        The function from rows to token ids, the size of the vocabulary, SHA-256 of the tokenizer's definition.

    Raises:
        FileNotFoundError: where a local folder lacks a file, or the tokenizer is not in ``data_dir`` and may not or
            cannot be fetched; says what to do.
    """
    if name == BYTES:
        return lambda rows: [row.encode() for row in rows], VOCABULARIES[BYTES], hashlib.sha256(b"bytes").hexdigest()
    declare_missing_operators()
    from transformers import AutoTokenizer, GPT2TokenizerFast

    folder, complete = tokenizer_folder(name, data_dir)
    if not complete:
        if folder == Path(name):
            raise FileNotFoundError(
                f"no tokenizer in {folder}: it holds neither tokenizer.json nor vocab.json and merges.txt; put them "
                f"there, or name another folder or tokenizer in data.options.tokenizer, or bytes, which needs none"
            )
        if not download:
            raise FileNotFoundError(
                f"no tokenizer {name!r}: it is no folder, and {folder} holds none; put tokenizer.json, or vocab.json "
                f"and merges.txt, there, or name another folder in data.options.tokenizer, or bytes, which needs none, "
                f"or run `nino data` with network access"
            )
        try:
            _keep(AutoTokenizer.from_pretrained(name), folder)
        except OSError as error:
            raise FileNotFoundError(
                f"could not fetch the tokenizer {name!r} from the hub: {error}. If it is gated (Llama's are): accept "
                f"its terms on its page, make a token, `hf auth login`; or put its tokenizer.json (or vocab.json and "
                f"merges.txt) into {folder}, or name any other folder or tokenizer in data.options.tokenizer"
            ) from error
    loader = AutoTokenizer if (folder / "tokenizer.json").is_file() else GPT2TokenizerFast
    tokenizer = loader.from_pretrained(folder)
    definition = tokenizer.backend_tokenizer.to_str()

    def encode(rows: list[str]) -> list[list[int]]:
        encoded: dict[str, Any] = tokenizer(rows, return_attention_mask=False, add_special_tokens=False, verbose=False)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    return encode, len(tokenizer), hashlib.sha256(definition.encode()).hexdigest()


def tokenizer_folder(name: str, data_dir: Path) -> tuple[Path, bool]:
    """The folder that holds, or would hold, a tokenizer, and whether it holds a whole one; bytes need none."""
    if name == BYTES:
        return Path(name), True
    folder = Path(name) if Path(name).is_dir() else data_dir / "tokenizers" / name.replace("/", "--")
    return folder, holds_tokenizer(folder)


def vocabulary_size(name: str, data_dir: Path) -> int:
    """The number of a tokenizer's ids; tokenizers other than those of ``VOCABULARIES`` are read for it.

    Raises:
        FileNotFoundError: where such a tokenizer is missing or incomplete.
    """
    if name in VOCABULARIES and not Path(name).is_dir():
        return VOCABULARIES[name]
    return load_tokenizer(name, data_dir, download=False)[1]


def holds_tokenizer(folder: Path) -> bool:
    """Whether a folder has the files of a whole tokenizer."""
    names = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
    return "tokenizer.json" in names or {"vocab.json", "merges.txt"} <= names


def _keep(tokenizer: Any, folder: Path) -> None:
    """Save a tokenizer whole or not at all; other processes may save the same one at the same time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        part = Path(temporary) / "tokenizer"
        tokenizer.save_pretrained(part)
        if not holds_tokenizer(part):
            raise FileNotFoundError("it has neither tokenizer.json nor vocab.json and merges.txt")
        if folder.is_dir() and not holds_tokenizer(folder):  # what an earlier version was killed while writing
            folder.rename(Path(temporary) / "incomplete")
        try:
            part.rename(folder)
        except OSError:
            if not holds_tokenizer(folder):  # if it does, another process was faster
                raise
