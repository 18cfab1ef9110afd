"""What Python files define, read from their syntax trees: nothing of them is run, and no module is imported."""

from __future__ import annotations

import ast
import importlib.util
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

DEEPEST = 8  # imports that a name is followed through, and bases
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
DYNAMIC = ("globals", "locals", "vars", "setattr", "exec")  # what a file may define further names by
UNREADABLE = (SyntaxError, ValueError, RecursionError, OSError)  # what `Definitions.read` raises


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
        nodes: by name, the statement that binds it; None where branches bind it in several ways.
        every: whether other names may be there, too: from ``import *``, a module's ``__getattr__``, or ``globals()``.
        package: the package that relative imports start at; empty for a file outside packages.
    """

    nodes: dict[str, ast.stmt | None]
    every: bool
    package: str

    @classmethod
    def read(cls, file: Path, module: str = "") -> Definitions:
        """Read a file, which is ``module`` where it belongs to an installed package.

        Raises:
            SyntaxError, ValueError, RecursionError: for what Python cannot read either.
        """
        return _parsed(file.read_bytes(), module if file.name == "__init__.py" else module.rpartition(".")[0])

    @property
    def public(self) -> list[str]:
        """Public names that may be meant: all but those of imported modules."""
        return [
            name
            for name, node in self.nodes.items()
            if not isinstance(node, ast.Import) and not name.startswith("_") and name != "*"
        ]

    def signature(self, name: str) -> Signature | None:
        """The arguments of a function or class; None where the syntax does not tell."""
        binding = self._binding(name)
        if binding is not None and isinstance(binding[1], ast.FunctionDef):
            return None if binding[1].decorator_list else Signature.of(binding[1], method=False)
        return self.method(name, "__init__")

    def method(self, name: str, method: str) -> Signature | None:
        """The arguments of a class's method, its own or of its first bases; None where the syntax does not tell."""
        here = self
        for _ in range(DEEPEST):
            if (binding := here._binding(name)) is None:
                return None
            here, node = binding
            if not isinstance(node, ast.ClassDef):
                return None
            entries = _nodes(node.body)
            if method in entries:
                entry = entries[method]
                if isinstance(entry, ast.FunctionDef) and all(map(_keeps_arguments, entry.decorator_list)):
                    return Signature.of(entry, method=True)
                return None
            if node.decorator_list or not node.bases or not isinstance(node.bases[0], ast.Name):
                return None
            name = node.bases[0].id
        return None

    def _binding(self, name: str) -> tuple[Definitions, ast.stmt] | None:
        """The statement that binds a name, followed through imports, and the file that it stands in."""
        here = self
        for _ in range(DEEPEST):
            node = here.nodes.get(name)
            if not isinstance(node, ast.ImportFrom):
                return None if node is None else (here, node)
            above = here.package.split(".")[: None if node.level < 2 else 1 - node.level]
            module = ".".join([*(above if node.level else ()), *([node.module] if node.module else ())])
            name = next(alias.name for alias in node.names if name in (alias.asname, alias.name))
            try:
                if (file := module_file(module)) is None:
                    return None
                here = Definitions.read(file, module)
            except UNREADABLE:
                return None
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


@lru_cache(maxsize=8)  # rows of a config name the same class again and again
def _parsed(source: bytes, package: str) -> Definitions:
    """Read a file's content, which Python itself decodes, as it does when it imports the file."""
    nodes = _nodes(ast.parse(source).body)
    symbols = symtable.symtable(source, "<file>", "exec").get_symbols()  # type: ignore[arg-type]  # it takes bytes, too
    bound = [s.get_name() for s in symbols if s.is_assigned() or s.is_imported() or s.is_declared_global()]
    used = {s.get_name() for s in symbols if s.is_referenced()}
    every = not nodes.keys().isdisjoint(("*", "__getattr__")) or not used.isdisjoint(DYNAMIC)
    return Definitions(dict.fromkeys(bound) | nodes, every, package)


def _nodes(body: list[ast.stmt]) -> dict[str, ast.stmt | None]:
    """By name, the statement that binds it last; None where it depends on which branch is taken."""
    nodes: dict[str, ast.stmt | None] = {}
    for name, node, certain in _bindings(body):
        nodes[name] = node if certain or name not in nodes else None
    return nodes


def _bindings(body: Iterable[ast.AST], certain: bool = True) -> Iterator[tuple[str, ast.stmt, bool]]:
    """Names, the statements that bind them, those of blocks included, and whether that is outside all blocks."""
    for node in body:
        if isinstance(node, ast.stmt):
            yield from ((name, node, certain) for name in _bound(node))
        if not isinstance(node, DEFINITIONS):
            blocks = (ast.stmt, ast.excepthandler, ast.match_case)
            yield from _bindings((part for part in ast.iter_child_nodes(node) if isinstance(part, blocks)), False)


def _keeps_arguments(decorator: ast.expr) -> bool:
    """Whether a method takes the same arguments under a decorator: under torch's ``no_grad`` and its like."""
    return ast.unparse(decorator).removesuffix("()").rpartition(".")[2] in ("no_grad", "enable_grad", "inference_mode")


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement binds."""
    if isinstance(node, DEFINITIONS):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        # `Class.__doc__ = ...` and `table[name] = ...` bind no name
        names = [target for target in targets if isinstance(target, ast.Name | ast.Tuple | ast.List)]
        return [name.id for target in names for name in ast.walk(target) if isinstance(name, ast.Name)]
    return []
