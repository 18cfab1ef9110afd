"""Published checkpoints by name: where they lie, their checksums, and the user's cache."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from nino.files import replacing, sha256

_NINO = "https://raw.githubusercontent.com/SamsungSAILMontreal/nino"
_WNN = "https://raw.githubusercontent.com/jjh6297/WNN/3e47d7858211a378a36cca91cbbcc8abe53a91fd/WNN_Pytorch"


@dataclass(frozen=True)
class Published:
    """A published file.

    Args:
        file: its name in the cache.
        url: where it lies, at a fixed commit.
        sha256: of its bytes.
    """

    file: str
    url: str
    sha256: str


KNOWN: dict[str, tuple[Published, ...]] = {
    "nino_no_posw": (
        Published(
            "nino_no_posw.pt",
            f"{_NINO}/2aefecc5e5775a363f1cef614760747b9b6e3299/checkpoints/nino_no_posw.pt",
            "2e2186e4a0e50193080eb9074648786ef25cd5ac3149a7df790127fe41101620",
        ),
    ),
    "nino_mlp": (
        Published(
            "nino_mlp.pt",
            f"{_NINO}/bcef3d5e159ecd66bb195824da2f7a33c04ec07b/checkpoints/nino_mlp.pt",
            "34d9ff3703274fa07615e27937dac8ea07f375ed95b5bde6d39abd8c41c06f52",
        ),
    ),
    "nino_mlp_h32": (
        Published(
            "nino_mlp_h32.pt",
            f"{_NINO}/bcef3d5e159ecd66bb195824da2f7a33c04ec07b/checkpoints/nino_mlp_h32.pt",
            "389e4d51e79a72bb9d780812504c98146073cc2a96da38be3b72d8abe0b6fd7d",
        ),
    ),
    "wnn": (
        Published(
            "wnn_conv.pt",
            f"{_WNN}/NWNN_Conv_13.pt",
            "b41ca967e6f99938922afa716c44f1c42dd29abd3e9eeb5ac728ead71738e651",
        ),
        Published(
            "wnn_fc.pt",
            f"{_WNN}/NWNN_FC_13.pt",
            "779b8d938e3b719aa033761e5f3bb57d47dce442c40f44314b14e7d143569b9f",
        ),
        Published(
            "wnn_bias.pt",
            f"{_WNN}/NWNN_Bias_13.pt",
            "1270698777995f58e581ca7ae778a4e8dfdc29038356f8643bcc3122d1b3ab70",
        ),
    ),
}


def cache_folder() -> Path:
    """``NINO_CACHE``, or the user's cache folder for nino."""
    return Path(os.environ.get("NINO_CACHE") or user_cache_path("nino")).expanduser()


def fetch(name: str) -> Path:
    """The first file of a known checkpoint, all its files downloaded to the cache if they are not there.

    Args:
        name: a key of ``KNOWN``.

    Returns:
        Path of a file whose SHA-256 is the published one.

    Raises:
        ConnectionError: if a file cannot be downloaded; says where to put it.
        ValueError: if a file, cached or downloaded, has other bytes than the published one.
    """
    return [_fetch_one(name, published) for published in KNOWN[name]][0]


def _fetch_one(name: str, published: Published) -> Path:
    path = cache_folder() / published.file
    if not path.is_file():
        try:
            with replacing(path) as temporary:
                with urllib.request.urlopen(published.url, timeout=60) as answer, temporary.open("wb") as file:
                    shutil.copyfileobj(answer, file)
                _verify(temporary, published, f"what {published.url} gives")
        except (urllib.error.URLError, TimeoutError) as error:
            raise ConnectionError(
                f"cannot download {name!r} from {published.url} ({error}). Without a network: put the file at {path} "
                f"(SHA-256 {published.sha256}), or set NINO_CACHE to a folder that holds {published.file}"
            ) from None  # its reason is in the sentence: three chained tracebacks would hide that
    _verify(path, published, str(path))
    return path


def require_published(path: Path) -> None:
    """Refuse a file that has the name of a published one, wherever it lies, and other bytes.

    Raises:
        ValueError: says what to do.
    """
    for published in (each for files in KNOWN.values() for each in files):
        names = {published.file, published.url.rpartition("/")[2]}
        if path.name in names and (found := sha256(path)) != published.sha256:
            raise ValueError(
                f"{path} has the name of a published file, but SHA-256 {found}, not {published.sha256}: it is damaged, "
                "copy it again; or, if it is a network of your own, rename it"
            )


def _verify(path: Path, published: Published, where: str) -> None:
    if (found := sha256(path)) != published.sha256:
        raise ValueError(
            f"{where} has SHA-256 {found}, not the published {published.sha256}: remove it and download it again"
        )
