"""Weights that come with this package: fitted from nothing by ``workflow/configs/weights.yaml``, a card beside each."""

from __future__ import annotations

from pathlib import Path

from nino.files import sha256

SHIPPED: dict[str, str] = {
    "nino-1": "94ddc841680462065d77a9054005edd2fd9129279321b0b5c76d02cdc84d4658",
}
"""SHA-256 of each file. A name's number grows with every new fit, so that a name always means the same bytes."""


def shipped(name: str) -> Path:
    """The file of weights that come with this package.

    Args:
        name: a key of ``SHIPPED``.

    Returns:
        Path of a file whose SHA-256 is the one written down here.

    Raises:
        ValueError: for a file with other bytes.
    """
    path = Path(__file__).with_name(f"{name}.safetensors")
    if (found := sha256(path)) != SHIPPED[name]:
        raise ValueError(f"{path} has SHA-256 {found}, not {SHIPPED[name]}: install this package again")
    return path
