"""Whether a data set's files are there, without reading them."""

from __future__ import annotations

from pathlib import Path

from nino.specs import DataSpec
from nino.tasks.imagenet import BATCHES
from nino.tasks.language import GPT2_TOKENIZER
from nino.tasks.text import find_files, wiki_row
from nino.tasks.tokenizers import holds_tokenizer
from nino.tasks.vision import TORCHVISION


def absent(spec: DataSpec, data_dir: Path) -> str | None:
    """What a data set lacks.

    Args:
        spec: the data set and its source.
        data_dir: folder of data sets.

    Returns:
        The first file that is missing, in words; None where all are there, ship with a dependency, or are images that
        the hub has: only reading those tells.
    """
    if spec.source == "embedded":
        return None
    if spec.source == "torchvision":
        folder = data_dir / TORCHVISION[spec.name].folder
        return _first_missing([folder / name for name in TORCHVISION[spec.name].files])
    if spec.name == "imagenet32":
        folder = Path(spec.path) if spec.path else data_dir / spec.name
        if spec.source == "npz":
            return _first_missing([folder / name for name in BATCHES])
        return None if spec.source == "hub" or folder.is_dir() else f"no folder {folder}"
    if spec.source == "npz":
        return _first_missing([Path(spec.path) if spec.path else data_dir / f"{spec.name}.npz"])
    folder = Path(spec.path) if spec.path and spec.source != "hub" else data_dir / spec.name
    try:
        kind = "text" if spec.source == "text" else "parquet"
        find_files(spec.name, kind, folder, spec.options.get("files", {}), wiki_row)
    except FileNotFoundError as error:
        return str(error).partition(";")[0]
    tokenizer = str(spec.options.get("tokenizer", GPT2_TOKENIZER))
    kept = data_dir / "tokenizers" / tokenizer.replace("/", "--")
    return None if holds_tokenizer(Path(tokenizer)) or holds_tokenizer(kept) else f"no tokenizer {tokenizer} at {kept}"


def _first_missing(paths: list[Path]) -> str | None:
    missing = next((path for path in paths if not path.is_file()), None)
    return None if missing is None else f"no file {missing}"
