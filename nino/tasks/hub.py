"""Data sets from the Hugging Face hub, fetched once and kept as local Parquet files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nino.files import replacing, replacing_folder
from nino.leases import lease, sweep
from nino.specs import DataSpec
from nino.specs.data_options import HubOptions
from nino.specs.local_files import SPLITS

# What repositories call the splits that ours stand for.
SYNONYMS = {"validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


@dataclass(frozen=True)
class HubText:
    """A data set of the hub.

    Args:
        repository: its name.
        folder: of the variant's files in it, ``<split>-*.parquet`` or ``<split>/*.parquet``. A branch of converted
            Parquet files has no README, so the library knows no name of a variant there.
        revision: of the repository; script-based data sets no longer load, their Parquet revision does.
        splits: what the hub calls train, validation and test, in ``datasets``' syntax for parts of a split.
        tokens: GPT-2 tokens of train, validation and test, about.
    """

    repository: str
    folder: str
    revision: str | None
    splits: tuple[str, str, str]
    tokens: tuple[int, int, int]


HUB_TEXT = {
    # WikiText-103 (Merity et al., 2016), the raw variant: articles of English Wikipedia.
    "wikitext-103": HubText(
        "Salesforce/wikitext",
        "wikitext-103-raw-v1",
        None,
        ("train", "validation", "test"),
        (115_000_000, 247_000, 283_000),  # an epoch of 3,500 steps of 32 x 1024 tokens
    ),
    # The One Billion Word benchmark (Chelba et al., 2013): shuffled sentences of news. It has no validation part on the
    # hub: the first 5 % of the training part, as `run_clm` splits where there is none.
    "lm1b": HubText(
        "billion-word-benchmark/lm1b",
        "plain_text",
        "refs/convert/parquet",
        ("train[5%:]", "train[:5%]", "test"),
        (803_000_000, 42_000_000, 8_400_000),  # an epoch of 24,500 steps of 32 x 1024 tokens, the paper's ~24k
    ),
}


def fetch(hub_text: HubText, folder: Path) -> None:
    """Write the splits that ``folder`` lacks as ``<split>.parquet``, each whole or not at all.

    Args:
        hub_text: what to fetch.
        folder: where to.

    Raises:
        FileNotFoundError: where the hub cannot be reached or has no such files; says which file belongs where.
    """
    missing = [
        (split, part) for split, part in zip(SPLITS, hub_text.splits, strict=True) if not _file(folder, split).is_file()
    ]
    if not missing:
        return
    import datasets

    for split, part in missing:
        try:
            rows = datasets.load_dataset(
                hub_text.repository,
                data_dir=hub_text.folder,
                revision=hub_text.revision,
                split=part,
                cache_dir=str(folder / "hub"),
            )
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"could not fetch {hub_text.repository} ({hub_text.folder}, {part}) from the hub: {error}; fetch it "
                f"where there is a network and put it, a column 'text', into {_file(folder, split)}"
            ) from error
        with replacing(_file(folder, split)) as temporary:
            rows.to_parquet(str(temporary))


def _file(folder: Path, split: str) -> Path:
    return folder / f"{split}.parquet"


def fetched(spec: DataSpec, options: HubOptions, data_dir: Path, download: bool) -> Path:
    """The local folder of any data set of the hub; if it does not exist, the splits are fetched into it first.

    Args:
        spec: source ``hub``.
        options: which repository, which of its configurations, and what it calls the splits.
        data_dir: where what was fetched is kept, whole or not at all.
        download: whether the hub may be asked.

    Returns:
        The folder: ``train.parquet``, and files of the other splits that the repository has.

    Raises:
        ValueError: where no repository is named.
        FileNotFoundError: where it is not kept and may not be fetched, or the hub or the library refuses; says why.
    """
    if options.repository is None:
        raise ValueError(f"data {spec.name!r}: data.source is 'hub': name a data set of it in data.options.repository")
    folder = hub_folder(options, data_dir)
    if folder.is_dir():
        return folder
    if not download:
        changed = ", or has changed since it was kept" if os.path.isdir(options.repository) else ""
        raise FileNotFoundError(
            f"data {spec.name!r}: {options.repository} is not in {folder}{changed}; run `nino data` with network "
            "access, or put train.parquet there, and validation.parquet and test.parquet where it has these splits"
        )
    with lease(folder, wait=True):
        if not folder.is_dir():
            sweep(folder.parent, folder.name)
            with replacing_folder(folder) as part:
                _fetch_splits(spec, options, part)
    return folder


def hub_folder(options: HubOptions, data_dir: Path) -> Path:
    """Where a repository is kept: one folder a repository, configuration, revision and choice of splits.

    A local folder counts with its absolute path and its files' sizes and times: once changed, it is another one.
    """
    what = {key: value for key, value in asdict(options).items() if key in ("subset", "revision", "splits")}
    repository = str(options.repository)
    where = _local_identity(Path(repository)) if os.path.isdir(repository) else repository  # as the library decides
    key = hashlib.sha256(f"{where} {what}".encode()).hexdigest()[:8]
    return data_dir / "hub" / f"{repository.strip('/').replace('/', '--')[-200:]}-{key}"  # a name has 255 bytes


def _local_identity(folder: Path) -> str:
    """What tells a local repository from others, and from itself before a change: its place, and sizes and times."""
    below = ((path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file())
    files = sorted((str(name), path) for name, path in below if not any(part.startswith(".") for part in name.parts))
    listing = [f"{name} {(status := path.stat()).st_size} {status.st_mtime_ns}" for name, path in files]
    return "\n".join([str(folder.resolve()), *listing])


def _fetch_splits(spec: DataSpec, options: HubOptions, folder: Path) -> None:
    import datasets

    where, splits = str(options.repository), options.splits
    with TemporaryDirectory(prefix=".cache-", dir=folder) as cache:  # the library's own copy, of the same size
        try:
            if Path(where, "dataset_dict.json").is_file():
                repository = datasets.load_from_disk(where)
            else:
                repository = datasets.load_dataset(
                    where, name=options.subset, revision=options.revision, cache_dir=cache
                )
            for split, part in _chosen(splits.train, splits.validation, splits.test, repository).items():
                whole = repository[part] if part in repository else _part_of(options, part, cache)
                whole.to_parquet(str(folder / f"{split}.parquet"))
        except (OSError, ValueError, RuntimeError, KeyError, datasets.exceptions.DatasetsError) as error:
            raise FileNotFoundError(
                f"data {spec.name!r}: could not fetch {where} from the hub: {' '.join(str(error).split())}; see to the "
                "network, data.options.repository, subset and splits (gated: `hf auth login`), or fetch it elsewhere, "
                "save its splits as Parquet files and set data.source to parquet and data.path to their folder"
            ) from error


def _chosen(train: str, validation: str | None, test: str | None, splits: Any) -> dict[str, str]:
    """What the repository calls those of our splits that it has."""
    if train not in splits and "[" not in train:
        raise ValueError(f"it has no split {train!r}; data.options.splits.train may be {', '.join(splits)}")
    chosen = {"train": train}
    for split, given in (("validation", validation), ("test", test)):
        names = (given,) if given else tuple(name for name in SYNONYMS[split] if name in splits)
        chosen |= {split: names[0]} if names else {}
    return chosen


def _part_of(options: HubOptions, part: str, cache: str) -> Any:
    """A part of a split, in the library's syntax; an unknown one is an error that lists those there are."""
    import datasets

    return datasets.load_dataset(
        options.repository, name=options.subset, revision=options.revision, split=part, cache_dir=cache
    )
