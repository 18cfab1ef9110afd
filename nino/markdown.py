"""Tables of the pages that describe files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """A Markdown table.

    Args:
        head: titles of the columns.
        rows: cells, turned to text.

    >>> print(table(("what", "value"), [("networks", 8)]))
    | what | value |
    | --- | --- |
    | networks | 8 |
    """
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def code(values: Any) -> str:
    """Plain values as JSON in a code span.

    >>> code({"b": 1, "a": [2]})
    '`{"a": [2], "b": 1}`'
    """
    return f"`{json.dumps(values, sort_keys=True)}`"
