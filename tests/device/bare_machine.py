"""A module's ``main`` on a machine with few packages: ``python -m tests.device.bare_machine MODULE ARGUMENT...``.

What torch, PyG, h5py and transformers bring is there; everything else that is installed here looks as if it were not.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

THERE = ("torch", "torch-geometric", "h5py", "transformers")
OURS = ("nino", "benchmarks", "tests")
ABSENT = ("pydantic", "typer", "snakemake", "pandas", "scipy", "jaxtyping", "threadpoolctl", "platformdirs", "pytest")


def brought() -> set[str]:
    """The packages that are there, those that others need included."""
    found: set[str] = set()
    waiting = list(THERE)
    while waiting:
        if (name := canonicalize_name(waiting.pop())) in found:
            continue
        found.add(name)
        try:
            needed = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:
            continue
        waiting += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


class Bare(PathFinder):
    """Finds what is there."""

    hidden: frozenset[str] = frozenset()

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """None for a package that is not."""
        return None if name.partition(".")[0] in cls.hidden else PathFinder.find_spec(name, path, target)


def hide() -> None:
    """Hide all other packages, before anything of theirs is imported."""
    there = brought()
    others = {
        name
        for name, packages in packages_distributions().items()
        if not any(canonicalize_name(package) in there for package in packages)
    }
    Bare.hidden = frozenset((others | set(ABSENT)) - set(OURS))
    for name in list(sys.modules):
        if name.partition(".")[0] in Bare.hidden:
            del sys.modules[name]
    sys.meta_path[:] = [Bare if finder is PathFinder else finder for finder in sys.meta_path]


if __name__ == "__main__":
    hide()
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.exit(import_module(module).main())
