"""What a model's forward takes, from an example of its inputs, and the tensors in what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

_CACHES = ("past_key_values", "cache_params", "mems")
#: What an output may refer to without returning it.
_NO_OUTPUTS = (nn.Module, type, FunctionType, ModuleType)


def as_call(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of an example input."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, tuple):
        if len(example) == 2 and isinstance(example[0], tuple) and isinstance(example[1], dict):
            return example
        return example, {}
    return (example,), {}


def output_tensors(output: Any, seen: set[int] | None = None) -> list[Tensor]:
    """The tensors that a model returns, in whatever holds them, without caches of keys and values.

    Args:
        output: tensors, containers, and objects with attributes (in slots, too), nested in any way.
        seen: ids of objects that have been looked into.
    """
    seen = set() if seen is None else seen
    if isinstance(output, Mapping):
        output = [v for k, v in output.items() if k not in _CACHES]
    out = []
    for leaf in tree_flatten(output)[0]:
        if isinstance(leaf, Tensor):
            out.append(leaf)
        elif id(leaf) not in seen and not isinstance(leaf, _NO_OUTPUTS) and "Cache" not in type(leaf).__name__:
            seen.add(id(leaf))
            out += output_tensors(leaf if isinstance(leaf, Mapping) else _attributes(leaf), seen)
    return out


def _attributes(x: Any) -> dict[str, Any]:
    """An object's attributes, those in slots too."""
    slots = [name for cls in type(x).__mro__ for name in _slot_names(vars(cls).get("__slots__", ()))]
    return {**{name: getattr(x, name) for name in slots if hasattr(x, name)}, **getattr(x, "__dict__", {})}


def _slot_names(slots: str | Iterable[str]) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots
