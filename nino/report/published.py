"""The paper's published values, each with the source it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class Published:
    """A published value.

    Args:
        value: a number, a list of numbers or a small mapping, as it stands in ``published.yaml``.
        unit: what the number counts.
        sources: where it was read: keys of ``published.yaml``'s ``sources``.
    """

    value: Any
    unit: str
    sources: tuple[str, ...]


def published(section: str, *keys: str | int) -> Published | None:
    """Look a published value up.

    Args:
        section: a section of ``published.yaml``, such as ``steps_to_target``.
        keys: the path below its ``values``, such as ``"nino", "fm-16"``; a position in a list.

    Returns:
        The value with its source; None where nothing was published under these keys, so that its cell stays empty.

    Raises:
        ValueError: for a section that does not exist; names those that do.

    >>> published("steps_to_target", "nino", "fm-16")
    Published(value=4582, unit='steps', sources=('table2',))
    >>> published("steps_to_target", "nino", "digits-8") is None
    True
    """
    sections = _read()
    if section not in sections or section == "sources":
        allowed = ", ".join(sorted(set(sections) - {"sources"}))
        raise ValueError(f"`section` (={section!r}) is not one of published.yaml's sections: {allowed}")
    entry = sections[section]
    value: Any = entry["values"]
    for key in keys:
        if isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        elif isinstance(value, Mapping) and key in value:
            value = value[key]
        else:
            return None
    return Published(value, entry["unit"], sources_of(entry))


def published_speedup(method: str, task: str, baseline: str = "adam") -> Published | None:
    """The published speed-up in percent, ``100 (1 - steps / baseline's steps)``; None without both step counts.

    >>> round(published_speedup("nino", "fm-16").value, 1)
    46.8
    """
    steps, base = published("steps_to_target", method, task), published("steps_to_target", baseline, task)
    if steps is None or base is None:
        return None
    return Published(100 * (1 - steps.value / base.value), "% of the steps", steps.sources)


def beside(source: Published | None, value: float, half_width: float) -> tuple[float, float]:
    """The distance of a measured value from the published one.

    Args:
        source: the published value; None where there is none.
        value: the measured one.
        half_width: half the width of its interval; NaN where it has none.

    Returns:
        The difference, and the same in half-widths; NaN where there is none.
    """
    difference = value - source.value if source else float("nan")
    return difference, difference / half_width if half_width > 0 else float("nan")


def published_name(method: str) -> str:
    """What the paper calls a method, whether it uses the published weights or weights fitted here.

    >>> published_name("nino-released"), published_name("wnn")
    ('nino', 'wnn')
    """
    return method.removesuffix("-released")


def source_texts() -> dict[str, str]:
    """What each source key stands for."""
    return dict(_read()["sources"])


def sources_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The source keys of a section."""
    source = entry["source"]
    return (source,) if isinstance(source, str) else tuple(source)


@cache
def _read() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(files("nino.report").joinpath("published.yaml").read_text("utf-8"))
    return content
