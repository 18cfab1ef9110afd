"""Stand-ins for what a machine lacks where only torch, PyG, h5py, transformers and what these bring are installed.

Annotations of shapes mean nothing there, and configs are taken as they are (pydantic checks them elsewhere). Without
SciPy the positions of neurons are random numbers, as many, at the same cost to a nowcast.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import fields, is_dataclass
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


class _Anything:
    """``Float[Tensor, "params"]``, ``sparse.csr_matrix`` and the like, which nobody looks at."""

    def __class_getitem__(cls, _: Any) -> type[_Anything]:
        return cls


def _module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None)
    made.__dict__.update(content)
    sys.modules[name] = made
    return made


def _jaxtyping() -> None:
    _module("jaxtyping", **dict.fromkeys(("Bool", "Float", "Int", "Shaped"), _Anything))


def _platformdirs() -> None:
    _module("platformdirs", user_cache_path=lambda name: Path.home() / ".cache" / name)


def _threadpoolctl() -> None:
    _module("threadpoolctl", threadpool_info=lambda: [], threadpool_limits=lambda *_: nullcontext())


def _scipy() -> None:
    _module("scipy", sparse=_module("scipy.sparse", csr_matrix=_Anything))
    import torch

    from nino.graphs import graph

    graph.laplacian_encoding = lambda nodes, blocks, k=8: torch.randn(nodes, k) / nodes**0.5


def _tabulate() -> None:
    def tabulate(rows: Any, headers: Any, *_: Any, **__: Any) -> str:
        return "\n".join(" | ".join(map(str, row)) for row in (headers, *rows))

    _module("tabulate", tabulate=tabulate)


def _pydantic() -> None:
    from nino.specs import Spec

    for module in ("nino.config.resolve", "nino.specs.base"):
        import_module(module).__dict__["problems"] = lambda *_: []
    Spec.from_dict = classmethod(_plain)  # type: ignore[assignment]


def _plain(kind: Any, values: Mapping[str, Any]) -> Any:
    """A spec from a mapping, nested ones too, none of it checked."""
    hints = get_type_hints(kind)
    names = {field.name for field in fields(kind)}
    return kind(**{name: _as(hints[name], value) for name, value in values.items() if name in names})


def _as(hint: Any, value: Any) -> Any:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for kind in kinds:
        if is_dataclass(kind) and isinstance(value, Mapping):
            return _plain(kind, value)
    return tuple(value) if isinstance(value, list) else value


STAND_INS: dict[str, Callable[[], None]] = {
    "jaxtyping": _jaxtyping,
    "platformdirs": _platformdirs,
    "threadpoolctl": _threadpoolctl,
    "scipy": _scipy,
    "tabulate": _tabulate,
    "pydantic": _pydantic,
}

ASKED_FOR = ("scipy", "tabulate", "pydantic")
"""Packages that transformers and torch look for before they use them."""


@contextmanager
def stand_ins() -> Iterator[list[str]]:
    """Put something in the place of each package that is missing, for the imports of the block.

    Yields:
        Their names. After the block those are missing again by which other libraries decide what they do.
    """
    missing = [name for name in STAND_INS if find_spec(name) is None]
    for name in missing:
        STAND_INS[name]()
    try:
        yield missing
    finally:
        for name in list(sys.modules):
            if name.partition(".")[0] in ASKED_FOR and name.partition(".")[0] in missing:
                del sys.modules[name]
