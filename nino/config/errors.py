"""What is wrong with a config, in words: the key, its value, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class ConfigError(ValueError):
    """A config that cannot be run.

    Args:
        problems: one sentence each; every one names its key.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep the problems, and make one message of them."""
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def dotted(path: Iterable[str | int]) -> str:
    """A key as people write it.

    >>> dotted(["evaluate", "seeds", 2])
    'evaluate.seeds[2]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def suggest(word: str, allowed: Iterable[str]) -> str:
    """What may have been meant, and what is allowed; the end of a sentence.

    >>> suggest("perod", ["period", "power"])
    "did you mean 'period'? Allowed: period, power"
    >>> suggest("x", [])
    'nothing is allowed here'
    """
    names = sorted(allowed)
    if not names:
        return "nothing is allowed here"
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    start = f"did you mean {near[0]!r}? Allowed" if near else "allowed"
    return f"{start}: {', '.join(names)}"


def first_repeated(values: Iterable[Any]) -> Any | None:
    """The first value that stands twice, None where none does.

    >>> first_repeated([1, 2, 1])
    1
    """
    seen = []
    for value in values:
        if value in seen:
            return value
        seen.append(value)
    return None
