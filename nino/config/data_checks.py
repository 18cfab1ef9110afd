"""What data sets of a config cannot be, found before any job and without reading a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nino.specs.data_options import SOURCES, USER_DATA, Cut

Values = Mapping[str, Any]
# Options that only some sources read, of data that a user brings.
ONLY = {
    **dict.fromkeys(("repository", "subset", "revision", "splits"), ("hub",)),
    **dict.fromkeys(("column", "image", "label"), ("parquet", "hub")),
    "files": ("csv", "parquet", "text"),
}


def data_checks(key: str, data: Values) -> Iterator[str]:
    """Contradictions in an entry ``tasks.NAME.data``.

    Args:
        key: of the entry, dotted.
        data: what it says.

    Yields:
        Sentences that name the key, its value and what is allowed.
    """
    name, source, options = data["name"], data.get("source", "embedded"), data.get("options", {})
    if name not in SOURCES:  # a function of one's own reads what it likes
        if "source" in data and source != "embedded":
            yield f"{key}.source (={source}) goes with data sets of ours; {name} reads its own: leave it out"
        return
    if source not in SOURCES[name]:
        yield f"{key}.source (={source}): {name} comes from {', '.join(SOURCES[name])}"
        return
    if name == "images" and source == "npz":
        for option in options:
            yield f"{key}.options.{option}: images of an .npz file have no options; leave it out, or set source: folder"
    elif name in USER_DATA:
        for option in (each for each in options if source not in ONLY.get(each, (source,))):
            readers = " or ".join(ONLY[option])
            yield f"{key}.options.{option} goes with source: {readers}; this one is {source}: leave it out"
        if data.get("path") and source == "hub":
            yield f"{key}.path (={data['path']}) goes with local files; with source: hub leave it out"
    if source == "hub" and name in USER_DATA and not options.get("repository"):
        yield f"{key}.options.repository: missing; with source: hub, the name of a data set on the hub"
    if source in ("csv", "parquet", "folder") and name in ("images", "table") and not data.get("path"):
        yield f"{key}.path: missing; with source: {source}, the file or folder that {name} are read from"
    target = options.get("target")
    if not isinstance(target, str | None) and len(target) != 1 and options.get("predict", "class") == "class":
        yield f"{key}.options.target (={list(target)}): several columns go with predict: number only; name one"
    for cut in ("cut", "draw"):
        shares = [options.get(cut, {}).get(part, getattr(Cut, part)) for part in ("validation", "test")]
        if sum(shares) >= 1:
            yield f"{key}.options.{cut}: validation and test ({shares[0]} + {shares[1]}) leave nothing for training"
