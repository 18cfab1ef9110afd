"""Language data sets: one function each, registered in ``nino.tasks.registry``."""

from __future__ import annotations

from pathlib import Path

import torch

from nino.seeding import derive
from nino.specs import DataSpec
from nino.tasks.data import Blocks, Data, joint_digest
from nino.tasks.vision import expect_source


def pydoc(spec: DataSpec, data_dir: Path, download: bool = False) -> Data:
    """The text of CPython's own ``help()`` topics, about 460 kB of English, as bytes (a vocabulary of 256).

    Whole topics go to one split, by a hash of their name: about 80 % train, 10 % validation, 10 % test. The text
    is what the running interpreter ships, so it differs between Python versions, and so does the checksum.

    Args:
        spec: source ``embedded``; option ``block`` (tokens a block, default 64).
        data_dir: unused, nothing is stored.
        download: unused, nothing is downloaded.

    Returns:
        Blocks of bytes.
    """
    from pydoc_data.topics import topics

    expect_source(spec, "embedded")
    block = int(spec.options.get("block", 64))
    texts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for name in sorted(topics):
        part = {8: "test", 9: "validation"}.get(derive(0, f"pydoc/{name}") % 10, "train")
        texts[part].append(topics[name])
    splits = [byte_blocks("\n".join(part), block) for part in texts.values()]
    facts = {"source": "pydoc_data.topics", "tokenizer": "bytes"}
    return Data("language", splits[0], splits[1], splits[2], (block,), 256, joint_digest(*splits), facts)


def byte_blocks(text: str, block: int) -> Blocks:
    """Cut the UTF-8 bytes of ``text`` into blocks; the rest that fills no block is dropped.

    >>> byte_blocks("abcdefgh", 3).tokens.tolist()
    [[97, 98, 99], [100, 101, 102]]
    """
    data = text.encode()
    count = len(data) // block
    tokens = torch.frombuffer(bytearray(data[: count * block]), dtype=torch.uint8)
    return Blocks(tokens.view(count, block))
