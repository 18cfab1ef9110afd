"""Names of classes outside this package: ``FILE.py:CLASS`` or ``MODULE:CLASS``, looked at before anything is run."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from nino.files import sha256
from nino.specs.errors import suggest


@dataclass(frozen=True)
class Reference:
    """A class by the place it is defined in.

    Args:
        where: a Python file (relative paths start at the working directory) or the name of an installed module.
        name: the class in it.

    >>> Reference.parse("my_nowcaster.py:MedianSlope")
    Reference(where='my_nowcaster.py', name='MedianSlope')
    >>> Reference.parse("linear") is None
    True
    """

    where: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Reference | None:
        """Read ``WHERE:CLASS``; None for a plain name."""
        where, colon, name = text.rpartition(":")
        return cls(where, name) if colon else None

    @property
    def file(self) -> Path | None:
        """The file, where it is one; None for a module."""
        return Path(self.where) if self.where.endswith(".py") else None

    def source(self) -> Path | None:
        """The file that the class is read from; None where there is none.

        Raises:
            ModuleNotFoundError: for a module whose package is not installed.
        """
        if self.file is not None:
            return self.file if self.file.is_file() else None
        module = importlib.util.find_spec(self.where)
        return None if module is None or module.origin is None else Path(module.origin)

    def record(self) -> dict[str, str]:
        """What identifies the class in a run's record: where it is and the checksum of its file.

        Raises:
            FileNotFoundError: where there is no such file.
        """
        source = self.source()
        if source is None:
            raise FileNotFoundError(f"{self.where}: no such file or module, for class {self.name}")
        return {"path": self.where, "sha256": sha256(source)}

    def load(self) -> Any:
        """Import the file or module and return what bears the name.

        Raises:
            ValueError: where there is no such file, module or name.
        """
        if problem := next(self.problems({}), None):
            raise ValueError(f"{self.where}:{self.name}: {problem}")
        module = importlib.import_module(self.where) if self.file is None else _import_file(self.file)
        if not hasattr(module, self.name):
            raise ValueError(f"{self.where}:{self.name}: {suggest(self.name, _public(module))}")
        return getattr(module, self.name)

    def problems(self, options: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with the reference, and with options for the class, without running any of its code.

        Args:
            options: what is to be passed to the class.

        Yields:
            Ends of sentences on the file, the class and the first unknown option.
        """
        try:
            source = self.source()
        except ModuleNotFoundError:
            source = None
        if source is None:
            kind = "file" if self.file is not None else "installed module"
            yield f"there is no {kind} {self.where} (relative paths start at {Path.cwd().name}/)"
            return
        if self.file is None:
            return  # a module may get its classes from anywhere
        try:
            classes = _classes(source)
        except (SyntaxError, UnicodeDecodeError) as error:
            yield f"{self.where} is no Python file ({error})"
            return
        if self.name not in classes:
            yield f"{self.where} defines no class {self.name}; {suggest(self.name, classes)}"
        elif (allowed := classes[self.name]) is not None:
            for option in options:
                if option not in allowed:
                    yield f"{self.name} takes no argument {option!r}; {suggest(option, allowed)}"

    def constant(self, name: str) -> Any:
        """What the class sets an attribute to in its body, read without running any of its code.

        Args:
            name: of the attribute, such as ``fixed_horizon``.

        Returns:
            The value; None where neither the class nor one that it derives from in the same file sets a plain value.
        """
        source = None if next(self.problems({}), None) else self.source()
        if source is None or source.suffix != ".py":
            return None
        tree = ast.parse(source.read_text(encoding="utf-8"))
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        waiting = [self.name]
        while waiting:
            if (node := classes.pop(waiting.pop(0), None)) is not None:
                values = _assignments(node)
                if name in values:
                    value = values[name]
                    return value.value if isinstance(value, ast.Constant) else None
                waiting += [base.id for base in node.bases if isinstance(base, ast.Name)]
        return None


def _assignments(node: ast.ClassDef) -> dict[str, ast.expr | None]:
    """What the body of a class sets its attributes to."""
    values: dict[str, ast.expr | None] = {}
    for entry in node.body:
        if isinstance(entry, ast.Assign | ast.AnnAssign):
            targets = entry.targets if isinstance(entry, ast.Assign) else [entry.target]
            values |= {target.id: entry.value for target in targets if isinstance(target, ast.Name)}
    return values


def _import_file(path: Path) -> ModuleType:
    name = f"nino_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    spec.loader.exec_module(module)
    return module


def _classes(path: Path) -> dict[str, list[str] | None]:
    """The classes that a file defines, each with the arguments of its constructor; None where they are not told."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: _arguments(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _arguments(node: ast.ClassDef) -> list[str] | None:
    for entry in node.body:
        if isinstance(entry, ast.FunctionDef) and entry.name == "__init__":
            signature = entry.args
            given = [argument.arg for argument in (*signature.posonlyargs, *signature.args, *signature.kwonlyargs)]
            return None if signature.kwarg else given[1:]
    return None


def _public(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, type) and not name.startswith("_")]
