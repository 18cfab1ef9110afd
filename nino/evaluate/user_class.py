"""Nowcasters whose class a user wrote, in a file or module outside this package."""

from __future__ import annotations

import inspect
from typing import Any

from nino.nowcasters.base import Nowcaster
from nino.specs import Reference


def build_user_nowcaster(reference: str, seed: int | None = None, **options: Any) -> Nowcaster:
    """Build a nowcaster from a class outside this package.

    Args:
        reference: ``FILE.py:CLASS`` or ``MODULE:CLASS``; the class derives from ``Nowcaster``.
        seed: passed to the class if its constructor takes a ``seed`` that ``options`` do not set.
        **options: arguments of the class.

    Returns:
        The nowcaster.

    Raises:
        ValueError: for a reference without a class, a class that is not a nowcaster or lacks a method, and options that
            the class does not take.
    """
    parsed = Reference.parse(reference)
    if parsed is None:
        raise ValueError(f"`reference` (={reference!r}) must be FILE.py:CLASS or MODULE:CLASS")
    kind = parsed.load()
    if not (isinstance(kind, type) and issubclass(kind, Nowcaster)):
        raise ValueError(f"{reference} is no nowcaster: derive {parsed.name} from nino.nowcasters.Nowcaster")
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise ValueError(f"{reference} does not define {', '.join(missing)}, which every nowcaster needs")
    signature = inspect.signature(kind)
    if seed is not None and "seed" in signature.parameters:
        options = {"seed": seed} | options
    try:
        signature.bind(**options)
    except TypeError as error:
        arguments = ", ".join(signature.parameters) or "none"
        raise ValueError(f"{reference}: {error}; its arguments are {arguments}") from error
    return kind(**options)
