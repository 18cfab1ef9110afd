"""Tokenizers of transformers, from the hub or a local folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from nino.tasks.tokens import Encode
from nino.tasks.torchvision_ops import declare_missing_operators


def load_tokenizer(name: str, data_dir: Path, download: bool) -> tuple[Encode, int, str]:
    """A tokenizer as a function.

    Args:
        name: a local folder (``vocab.json`` and ``merges.txt``, or ``tokenizer.json``), else a name on the hub.
        data_dir: where a downloaded tokenizer is kept.
        download: whether it may be fetched from the hub.

    Returns:
        The function from rows to token ids, the size of the vocabulary, SHA-256 of the tokenizer's definition.

    Raises:
        FileNotFoundError: where it is neither a folder nor kept in ``data_dir`` nor may or can be fetched; says how to
            get a gated one.
    """
    declare_missing_operators()
    from transformers import AutoTokenizer, GPT2TokenizerFast

    kept = data_dir / "tokenizers" / name.replace("/", "--")
    folder = Path(name) if Path(name).is_dir() else kept
    if not folder.is_dir():
        if not download:
            raise FileNotFoundError(
                f"no tokenizer {name!r}: it is no folder, and {kept} does not exist; put vocab.json and merges.txt "
                f"there, or name another folder in data.options.tokenizer, or run `nino data` with network access"
            )
        try:
            AutoTokenizer.from_pretrained(name).save_pretrained(kept)
        except OSError as error:
            raise FileNotFoundError(
                f"could not fetch the tokenizer {name!r} from the hub: {error}. If it is gated (Llama's are): accept "
                f"its terms on its page, make a token, `hf auth login`; or put its tokenizer.json (or vocab.json and "
                f"merges.txt) into {kept}, or name any other folder or tokenizer in data.options.tokenizer"
            ) from error
    loader = AutoTokenizer if (folder / "tokenizer.json").is_file() else GPT2TokenizerFast
    tokenizer = loader.from_pretrained(folder)
    definition = tokenizer.backend_tokenizer.to_str()

    def encode(rows: list[str]) -> list[list[int]]:
        encoded: dict[str, Any] = tokenizer(rows, return_attention_mask=False, add_special_tokens=False, verbose=False)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    return encode, len(tokenizer), hashlib.sha256(definition.encode()).hexdigest()
