"""What Python files define, read from their syntax trees: nothing of them is run, and no module is imported."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

DEEPEST = 8  # imports that a name is followed through


@dataclass(frozen=True)
class Signature:
    """The arguments of a function, or of a class's constructor.

    Args:
        positional: those that may be given by position, in their order.
        keywords: those that must be given by name.
        required: those without a default.
        any_position: whether it takes ``*args``.
        any_name: whether it takes ``**kwargs``.
    """

    positional: tuple[str, ...]
    keywords: tuple[str, ...]
    required: tuple[str, ...]
    any_position: bool
    any_name: bool

    @classmethod
    def of(cls, node: ast.FunctionDef, method: bool) -> Signature:
        """Read a function's; ``method`` leaves out the first argument, the object itself."""
        given = node.args
        positional = [argument.arg for argument in (*given.posonlyargs, *given.args)]
        required = positional[: len(positional) - len(given.defaults)]
        keywords = [argument.arg for argument in given.kwonlyargs]
        needed = [name for name, default in zip(keywords, given.kw_defaults, strict=True) if default is None]
        skipped = int(method)
        return cls(
            tuple(positional[skipped:]),
            tuple(keywords),
            (*required[skipped:], *needed),
            given.vararg is not None,
            given.kwarg is not None,
        )


@dataclass(frozen=True)
class Definitions:
    """What a file defines at its top level.

    Args:
        nodes: by name, the statement that binds it.
        every: whether other names may be there, too: from ``import *`` or a module's ``__getattr__``.
        package: the package that relative imports start at; empty for a file outside packages.
    """

    nodes: dict[str, ast.stmt]
    every: bool
    package: str

    @classmethod
    def read(cls, file: Path, module: str = "") -> Definitions:
        """Read a file, which is ``module`` where it belongs to an installed package.

        Raises:
            SyntaxError: for what is no Python.
            UnicodeDecodeError: for what is no text.
        """
        nodes: dict[str, ast.stmt] = {}
        for node in _statements(ast.parse(file.read_text(encoding="utf-8")).body):
            nodes |= dict.fromkeys(_bound(node), node)
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        return cls(nodes, not nodes.keys().isdisjoint(("*", "__getattr__")), package)

    @property
    def callables(self) -> list[str]:
        """Public functions and classes that are defined here, not imported."""
        kinds = (ast.FunctionDef, ast.ClassDef)
        return [name for name, node in self.nodes.items() if isinstance(node, kinds) and not name.startswith("_")]

    def signature(self, name: str, depth: int = DEEPEST) -> Signature | None:
        """The arguments of a function or class; None where the syntax does not tell."""
        node = self.nodes.get(name)
        if isinstance(node, ast.FunctionDef):
            return None if node.decorator_list else Signature.of(node, method=False)
        if isinstance(node, ast.ClassDef):
            for entry in node.body:
                if isinstance(entry, ast.FunctionDef) and entry.name == "__init__":
                    return Signature.of(entry, method=True)
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            return self.signature(bases[0], depth - 1) if bases and not node.decorator_list and depth else None
        if isinstance(node, ast.ImportFrom) and depth:
            return self._imported(node, name, depth - 1)
        return None

    def _imported(self, node: ast.ImportFrom, name: str, depth: int) -> Signature | None:
        """The arguments of what a name was imported as."""
        above = self.package.split(".")[: None if node.level < 2 else 1 - node.level]
        module = ".".join([*(above if node.level else ()), *([node.module] if node.module else ())])
        original = next(alias.name for alias in node.names if name in (alias.asname, alias.name))
        try:
            file = module_file(module)
            return None if file is None else Definitions.read(file, module).signature(original, depth)
        except (SyntaxError, UnicodeDecodeError):
            return None

    def constant(self, name: str, attribute: str) -> Any:
        """What a class sets an attribute to in its body; None where neither it nor a base from here sets a constant."""
        waiting, seen = [name], set()
        while waiting:
            node = self.nodes.get(first := waiting.pop(0))
            if first in seen or not isinstance(node, ast.ClassDef):
                continue
            seen.add(first)
            for entry in reversed(node.body):
                if isinstance(entry, ast.Assign | ast.AnnAssign) and attribute in _bound(entry):
                    return entry.value.value if isinstance(entry.value, ast.Constant) else None
            waiting += [base.id for base in node.bases if isinstance(base, ast.Name)]
        return None


def module_file(name: str) -> Path | None:
    """The Python file of an installed module, found without importing its packages; None without one."""
    top, *parts = name.split(".")
    try:
        spec: ModuleSpec | None = importlib.util.find_spec(top) if top else None
    except ValueError:  # a module that says nothing about itself, as __main__
        return None
    for i, _ in enumerate(parts, start=1):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join([top, *parts[:i]]), spec.submodule_search_locations)
    origin = None if spec is None or spec.origin is None else Path(spec.origin)
    return origin if origin is not None and origin.is_file() else None


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements at the top level, those under if, try and with included."""
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With):
            for block in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, block, []))
            for handler in getattr(node, "handlers", ()):
                yield from _statements(handler.body)
        else:
            yield node


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    return []
