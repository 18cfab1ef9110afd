"""Text data sets from the Hugging Face hub, fetched once and kept as local Parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nino.files import replacing
from nino.tasks.text import SPLITS


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


WIKITEXT_103 = HubText(
    "Salesforce/wikitext",
    "wikitext-103-raw-v1",
    None,
    ("train", "validation", "test"),
    (115_000_000, 247_000, 283_000),  # an epoch of 3,500 steps of 32 x 1024 tokens
)
# LM1B has no validation part on the hub: the first 5 % of the training part, as `run_clm` splits where there is none.
LM1B = HubText(
    "billion-word-benchmark/lm1b",
    "plain_text",
    "refs/convert/parquet",
    ("train[5%:]", "train[:5%]", "test"),
    (803_000_000, 42_000_000, 8_400_000),  # an epoch of 24,500 steps of 32 x 1024 tokens; 306,688 test sentences
)
HUB_TEXT = {"wikitext-103": WIKITEXT_103, "lm1b": LM1B}


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
