"""Nowcasters that a user wrote or an installed package registers."""

from __future__ import annotations

from typing import Any

from nino.nowcasters.base import Nowcaster
from nino.specs import Reference


def build_user_nowcaster(reference: str, seed: int | None = None, **options: Any) -> Nowcaster:
    """Build a nowcaster from a class, or by a function, outside this package.

    Args:
        reference: ``FILE.py:NAME``, ``MODULE:NAME``, or a name that an installed package registers; what it gives
            derives from ``Nowcaster``.
        seed: passed on if it takes a ``seed`` that ``options`` do not set.
        **options: arguments.

    Returns:
        The nowcaster.

    Raises:
        ValueError: for a reference without a class, a class that is not a nowcaster or lacks a method, and options that
            the class does not take.
    """
    parsed = Reference.find(reference, "nowcaster")
    if parsed is None:
        raise ValueError(f"`reference` (={reference!r}) must be FILE.py:NAME, MODULE:NAME or a registered name")
    kind = parsed.load()
    if isinstance(kind, type) and not issubclass(kind, Nowcaster):
        raise ValueError(f"{reference} is no nowcaster: derive {parsed.name} from nino.nowcasters.Nowcaster")
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise ValueError(f"{reference} does not define {', '.join(missing)}, which every nowcaster needs")
    made = parsed.call(offered={} if seed is None else {"seed": seed}, **options)
    if not isinstance(made, Nowcaster):
        raise ValueError(f"{reference} gives {type(made).__name__}, not a nino.nowcasters.Nowcaster")
    return made
