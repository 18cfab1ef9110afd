"""Language data sets: one function each, registered in ``nino.tasks.registry``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from nino.seeding import derive
from nino.specs import DataSpec
from nino.specs.data_options import PydocOptions, TextOptions, UserTextOptions
from nino.tasks.cut_text import CutText, user_text
from nino.tasks.data import Blocks, Data, joint_digest
from nino.tasks.hub import HUB_TEXT, fetch, fetched
from nino.tasks.text import TextFiles, exact_row, local_files, text_folder, wiki_row
from nino.tasks.tokenizers import BYTES, load_tokenizer
from nino.tasks.tokens import cached_blocks
from nino.tasks.vision import expect_source


def pydoc(spec: DataSpec, data_dir: Path, download: bool = False) -> Data:
    """The text of CPython's own ``help()`` topics, about 370 kB of English, as bytes (a vocabulary of 256).

    Topics repeat parts of one another; a paragraph that a longer topic has is left out, so the splits share none. Whole
    topics go to one split, by a hash of their name: about 88 % train, 5 % validation, 7 % test. The text is what the
    running interpreter ships, so it differs between Python versions, and so does the checksum.

    Args:
        spec: source ``embedded``; option ``block`` (tokens a block, default 64).
        data_dir: unused, nothing is stored.
        download: unused, nothing is downloaded.

    Returns:
        Blocks of bytes.
    """
    from pydoc_data.topics import topics

    expect_source(spec)
    block = PydocOptions.under("data.options", spec.options).block
    texts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for name, topic in distinct_paragraphs(topics).items():
        part = {0: "validation", 2: "validation", 9: "test"}.get(derive(0, f"pydoc/{name}") % 10, "train")
        texts[part].append(topic)
    splits = [byte_blocks("\n".join(part), block) for part in texts.values()]
    facts = {"source": "pydoc_data.topics", "tokenizer": "bytes"}
    return Data("language", splits[0], splits[1], splits[2], (block,), 256, joint_digest(*splits), facts)


def distinct_paragraphs(topics: Mapping[str, str]) -> dict[str, str]:
    r"""Leave out every paragraph that a longer text has, white space aside.

    Args:
        topics: texts by name, paragraphs apart by a blank line.

    Returns:
        The texts by name, sorted by it.

    >>> distinct_paragraphs({"a": "one\n\ntwo", "b": "two\n\nthree\n\nfour"})
    {'a': 'one', 'b': 'two\n\nthree\n\nfour'}
    """
    seen: set[str] = set()
    distinct = {}
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        fresh = []
        for paragraph in topics[name].split("\n\n"):
            words = " ".join(paragraph.split())
            if words not in seen:
                seen.add(words)
                fresh.append(paragraph)
        distinct[name] = "\n\n".join(fresh)
    return dict(sorted(distinct.items()))


def text(spec: DataSpec, data_dir: Path, download: bool = False) -> Data:
    """Any text: local files, a file or a folder, or a data set of the hub; lines are treated as WikiText's.

    With the tokenizer ``bytes`` lines stay as they are. Files whose names start with ``train``, ``validation`` and
    ``test`` are these splits. A single file, and a folder without such names, is cut into consecutive parts: 80 %
    train, 10 % validation, 10 % test, unless option ``cut`` says otherwise.

    Args:
        spec: source ``text`` (.txt, .txt.gz), ``parquet`` (option ``column``) or ``hub`` (option ``repository``);
            ``path`` names a file or folder (default ``text`` in ``data_dir``); other options as in `published_text`.
        data_dir: where fetched files, tokenizers and tokens are kept.
        download: whether the hub may be asked.

    Returns:
        The blocks of three splits.

    Raises:
        FileNotFoundError: where files are missing; says which belong where.
        ValueError: for another source or option, or a split shorter than a block.
    """
    expect_source(spec)
    options = UserTextOptions.under("data.options", spec.options)
    return _in_blocks(spec, options, data_dir, download, text_files(spec, options, data_dir, download))


def text_files(spec: DataSpec, options: UserTextOptions, data_dir: Path, download: bool = False) -> TextFiles | CutText:
    """The files of a text of one's own; other arguments and errors are those of `text`."""
    row = exact_row if options.tokenizer == BYTES else wiki_row
    hub = spec.source == "hub"
    folder = fetched(spec, options, data_dir, download) if hub else text_folder(spec, data_dir)
    return user_text(spec, options, row, folder, partial=hub)


def published_text(spec: DataSpec, data_dir: Path, download: bool = False) -> Data:
    """A text of ``HUB_TEXT`` in blocks; tokens are made once and memory-mapped from then on.

    Args:
        spec: source ``hub`` (kept as Parquet in ``data_dir/<name>``), ``parquet`` or ``text`` (.txt, .txt.gz);
            ``path`` names the folder of local files (default ``data_dir/<name>``); options are those of
            `nino.specs.data_options.TextOptions`.
        data_dir: where fetched files, tokenizers and tokens are kept.
        download: whether the hub may be asked.

    Returns:
        The blocks of three splits.

    Raises:
        FileNotFoundError: where files are missing; says which belong where.
        ValueError: for another source or option.
    """
    expect_source(spec)
    options = TextOptions.under("data.options", spec.options)
    if spec.source == "hub" and download:
        fetch(HUB_TEXT[spec.name], text_folder(spec, data_dir))
    return _in_blocks(spec, options, data_dir, download, local_files(spec, data_dir))


def _in_blocks(
    spec: DataSpec, options: TextOptions, data_dir: Path, download: bool, files: TextFiles | CutText
) -> Data:
    block, tokenizer, checksums = options.block, options.tokenizer, files.checksums()
    encode, vocabulary, definition = load_tokenizer(tokenizer, data_dir, download)
    made_of = {"source": files.identity(checksums), "tokenizer": definition, "block": block, "group": options.group}
    blocks = cached_blocks(data_dir / "tokens", made_of, files.rows, encode, vocabulary)
    splits = [
        blocks["train"],
        *(first_blocks(blocks[split], options.evaluation_blocks) for split in ("validation", "test")),
    ]
    facts = {"source": spec.source, "files": checksums, "tokenizer": tokenizer, "tokenizer_sha256": definition}
    return Data("language", splits[0], splits[1], splits[2], (block,), vocabulary, joint_digest(*splits), facts)


def first_blocks(blocks: Blocks, limit: int | None) -> Blocks:
    """The first ``limit`` blocks, or all where there are no more or no limit."""
    if limit is None or limit >= len(blocks):
        return blocks
    return replace(blocks, tokens=blocks.tokens[:limit], checksum=None)


def byte_blocks(text: str, block: int) -> Blocks:
    """Cut the UTF-8 bytes of ``text`` into blocks; the rest that fills no block is dropped.

    >>> byte_blocks("abcdefgh", 3).tokens.tolist()
    [[97, 98, 99], [100, 101, 102]]
    """
    data = text.encode()
    count = len(data) // block
    tokens = torch.frombuffer(bytearray(data[: count * block]), dtype=torch.uint8)
    return Blocks(tokens.view(count, block))
