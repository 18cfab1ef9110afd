"""Nowcasters of other people: a class in a file of theirs, named where a built-in one would be."""

from __future__ import annotations

import inspect
from typing import Any

from nino.nowcasters.base import Nowcaster
from nino.specs import Reference


def own_nowcaster(reference: str, seed: int | None = None, **options: Any) -> Nowcaster:
    """Build a nowcaster from a class outside this package.

    Args:
        reference: ``FILE.py:CLASS`` or ``MODULE:CLASS``; the class is a ``Nowcaster``.
        seed: passed on to a class whose constructor takes a ``seed`` that ``options`` do not set.
        **options: arguments of the class.

    Returns:
        The nowcaster.

    Raises:
        ValueError: for a reference without a class, a class that is no nowcaster or is not finished, and options that
            it does not take.
    """
    parsed = Reference.parse(reference)
    if parsed is None:
        raise ValueError(f"`reference` (={reference!r}) must be FILE.py:CLASS or MODULE:CLASS")
    kind = parsed.load()
    if not (isinstance(kind, type) and issubclass(kind, Nowcaster)):
        raise ValueError(f"{reference} is no nowcaster: derive {parsed.name} from nino.nowcasters.Nowcaster")
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise ValueError(f"{reference} does not define {', '.join(missing)}, which every nowcaster needs")
    takes = inspect.signature(kind).parameters
    if seed is not None and "seed" in takes and "seed" not in options:
        options["seed"] = seed
    try:
        inspect.signature(kind).bind(**options)
    except TypeError as error:
        raise ValueError(f"{reference}: {error}; its arguments are {', '.join(takes) or 'none'}") from error
    return kind(**options)
