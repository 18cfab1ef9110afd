"""Config files to one mapping: YAML is read strictly, overlays are laid over the base."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from nino.config.errors import ConfigError
from nino.workflow import FOLDER, workspace_file

# Keys whose values name files and folders, some beside other things.
PATHS = ("data_dir", "path", "files", "tokenizer", "nowcaster")
BASE = "config.yaml"
MERGE = "tag:yaml.org,2002:merge"


class _Strict(yaml.SafeLoader):
    """YAML that refuses a key that stands twice in one mapping: the last would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue  # what another mapping brings may be said anew
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    """What YAML says: the workflow and commands read the same few files many times over."""
    return yaml.load(text, Loader=_Strict)


def read(path: Path) -> dict[str, Any]:
    """Read one config file.

    Args:
        path: a YAML file with a mapping at its top.

    Returns:
        The mapping; empty for an empty file.

    Raises:
        ConfigError: where the file is missing, no YAML, no mapping, or holds a key twice.
    """
    try:
        values = deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such config file (relative paths start at {Path.cwd().name}/)"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read as a config file ({error.strerror})"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: {' '.join(str(error).split())}"]) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError([f"{path}: holds a {type(values).__name__}; a config is a mapping of keys to values"])
    return values


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another, as Snakemake does: mappings merge, everything else replaces.

    >>> merge({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}})
    {'a': {'b': 1, 'c': [3]}}
    """
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def without_nulls(values: Any) -> Any:
    """The same mapping without the keys that are null, which is how an overlay takes an entry away.

    >>> without_nulls({"methods": {"oracle": None, "base": {}}})
    {'methods': {'base': {}}}
    """
    if isinstance(values, Mapping):
        return {key: without_nulls(value) for key, value in values.items() if value is not None}
    return values


def at_home(values: Any, inside: bool = False) -> Any:
    """The same mapping with ``~`` and ``~name`` spelled out where values name files and folders.

    >>> import os
    >>> at_home({"data_dir": "~/data", "methods": {"a": {"path": "~/a.pt", "label": "~"}}}) == {
    ...     "data_dir": os.path.expanduser("~/data"),
    ...     "methods": {"a": {"path": os.path.expanduser("~/a.pt"), "label": "~"}},
    ... }
    True
    """
    if isinstance(values, Mapping):
        return {key: at_home(value, inside or key in PATHS) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [at_home(value, inside) for value in values]
    return os.path.expanduser(values) if inside and isinstance(values, str) else values


def load(overlays: Sequence[Path] = (), base: Path | None = None) -> dict[str, Any]:
    """The mapping that ``snakemake --configfile OVERLAY...`` runs with.

    Args:
        overlays: files laid over the base, in this order.
        base: the complete config; default ``config.yaml`` in the working directory, or the package's where it has none.

    Returns:
        The merged mapping, not yet checked: ``resolve`` does that.

    Raises:
        ConfigError: for a file that cannot be read.
    """
    values = read(base or workspace_file(BASE) or FOLDER / BASE)
    for overlay in overlays:
        values = merge(values, read(overlay))
    return values


def overlays_of(
    config: Mapping[str, Any], overlays: Sequence[Path], base: Path | None = None
) -> tuple[str, ...] | None:
    """The overlays with which a command line gives the same config.

    Args:
        config: a merged mapping.
        overlays: files that were laid over the base for it, in this order.
        base: the complete config; default ``config.yaml`` in the working directory.

    Returns:
        Their paths, those below the working directory relative to it; None where these files alone do not give the
        config, as with values from Snakemake's command line, or where the base is the package's own, which the next
        version may change. ``data_dir`` may differ, because each command can be given one.
    """
    if (base := base or workspace_file(BASE)) is None:
        return None
    try:
        merged = load(overlays, base)
    except ConfigError:
        return None
    if without_nulls({**merged, "data_dir": None}) != without_nulls({**config, "data_dir": None}):
        return None
    paths = [Path(os.path.relpath(path)) for path in overlays]
    return tuple(
        (path.absolute() if ".." in near.parts else near).as_posix() for path, near in zip(overlays, paths, strict=True)
    )
