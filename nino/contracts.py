"""How the contracts of parts from outside this package are checked, whatever the part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def attempt(check: Callable[..., Iterable[str]], *subject: Any) -> list[str]:
    """The sentences of a check; an error that it lets through is the last of them.

    Args:
        check: yields a sentence for each violation of the contract that it finds.
        subject: what it checks.
    """
    sentences: list[str] = []
    try:
        for sentence in check(*subject):
            sentences.append(sentence)
    except Exception as error:  # whatever foreign code raises is a finding, not the end of the check
        first, *_ = str(error).strip().splitlines() or [""]
        sentences.append(f"{check.__name__.strip('_')}: raised {type(error).__name__}: {first}")
    return sentences
