"""Our own files of weights: safetensors whose metadata hold a digest of all that the file says, metadata included."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from nino.files import replacing

ABOUT = "nino"
DIGEST = "sha256"


@dataclass(frozen=True)
class WeightFile:
    """What one of our files holds.

    Args:
        about: format, kind and sizes of the network; empty in a file that is not ours.
        tensors: by name.
    """

    about: dict[str, Any]
    tensors: dict[str, Tensor]


def write_weights(path: Path, net: nn.Module, about: Mapping[str, Any], extra: Mapping[str, str] | None = None) -> None:
    """Write a network's tensors as safetensors, at once or not at all; equal content gives equal bytes.

    Args:
        path: the file.
        net: whose tensors.
        about: format, kind and sizes of the network, JSON values.
        extra: further metadata, such as how it was fitted.

    Raises:
        ValueError: if ``extra`` uses a key that is ours.
    """
    if taken := [key for key in (ABOUT, DIGEST) if key in (extra or {})]:
        raise ValueError(f"`extra` must not use the key {taken[0]!r}: it holds what the file says about itself")
    tensors = {name: t.detach().cpu().contiguous() for name, t in net.state_dict().items()}
    text = json.dumps({**about, "digest": DIGEST}, sort_keys=True)
    data = _sealed(save(tensors, metadata={**(extra or {}), ABOUT: text}))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_weights(path: Path) -> WeightFile:
    """Read a file of weights and hold it to its digest; files of earlier versions have none.

    Raises:
        ValueError: for a file that is not whole safetensors, or whose content is not what was written.
    """
    data = path.read_bytes()
    try:
        tensors = load(data)
        header, body = _parts(data)
        metadata = header.get("__metadata__", {})
        about = json.loads(metadata.get(ABOUT, "{}"))
        sealed = DIGEST in metadata or "digest" in about
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): copy or save it again") from error
    if sealed and metadata.pop(DIGEST, None) != _digest(header, body):
        raise ValueError(f"{path} is damaged: its weights are not those that were written; copy it again, or fit anew")
    return WeightFile(about, tensors)


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and its tensors' bytes."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def _digest(header: Mapping[str, Any], body: bytes) -> str:
    """SHA-256 over the header without its digest, keys sorted, and the tensors' bytes."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()


def _sealed(data: bytes) -> bytes:
    """A safetensors file with its digest, and its metadata sorted: the library writes them in a random order."""
    header, body = _parts(data)
    metadata = header["__metadata__"]
    header["__metadata__"] = dict(sorted({**metadata, DIGEST: _digest(header, body)}.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + body
