"""Names of functions and classes outside this package, looked at before anything is run.

``FILE.py:NAME``, ``MODULE:NAME``, or a plain name that an installed package registers as an entry point.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

from nino.files import sha256
from nino.specs.errors import suggest
from nino.specs.syntax import UNREADABLE, Definitions, Signature, module_file


@dataclass(frozen=True)
class Kind:
    """A kind of things that may come from outside.

    Args:
        group: of entry points that packages register theirs in.
        given: what a function or class of this kind is called with by position.
        offered: what it is called with by name if it takes an argument of that name.
        bare: the method of what it makes that is called without arguments; empty for none.
    """

    group: str
    given: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    bare: str = ""


KINDS = {
    "model": Kind("nino.models", given=("data",)),
    "data": Kind("nino.data", offered=("path",)),
    "metric": Kind("nino.metrics", given=("outputs", "targets")),
    "nowcaster": Kind("nino.nowcasters", offered=("seed",)),
    "optimizer": Kind("nino.optimizers", given=("params",), offered=("lr", "weight_decay"), bare="step"),
    "wrapper": Kind("nino.optimizers", given=("optimizer",), bare="step"),
}


@dataclass(frozen=True)
class Reference:
    """A function or class by the place it is defined in.

    Args:
        where: a Python file (relative paths start at the working directory) or the name of an installed module.
        name: the function or class in it.

    >>> Reference.parse("my_nowcaster.py:MedianSlope")
    Reference(where='my_nowcaster.py', name='MedianSlope')
    >>> Reference.parse("linear") is None
    True
    """

    where: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Reference | None:
        """Read ``WHERE:NAME``; None for a plain name."""
        where, colon, name = text.rpartition(":")
        return cls(where, name) if colon else None

    @classmethod
    def find(cls, text: str, kind: str) -> Reference | None:
        """Read ``WHERE:NAME``, or look a plain name up among the entry points of a kind; None for all other names.

        Args:
            text: as a config has it.
            kind: a key of ``KINDS``.
        """
        return cls.parse(text) or cls.parse(registered(kind).get(text, ""))

    @property
    def file(self) -> Path | None:
        """The file, where it is one; None for a module."""
        return Path(self.where) if self.where.endswith(".py") else None

    @property
    def package(self) -> str | None:
        """Name and version of the installed package that a module belongs to; None for a file."""
        return None if self.file is not None else _with_version(self.where.partition(".")[0])

    def source(self) -> Path | None:
        """The file that it is read from; None where there is none."""
        if self.file is not None:
            return self.file if os.path.isfile(self.file) else None  # pathlib raises for a name that is too long
        return module_file(self.where)

    def record(self) -> dict[str, str]:
        """What identifies it in a run's record: where it is, the checksum of its file, and its package's version.

        Raises:
            FileNotFoundError: where there is no such file.
        """
        source = self.source()
        if source is None:
            raise FileNotFoundError(f"{self.where}: no such file or module, for {self.name}")
        package = {} if self.package is None else {"package": self.package}
        return {"path": self.where, "sha256": sha256(source), **package}

    def load(self) -> Any:
        """Import the file or module, which runs it, and return what bears the name.

        Raises:
            ValueError: where there is no such file, module or name, and where importing fails.
        """
        if problem := next(self.problems(), None):
            raise ValueError(f"{self.where}:{self.name}: {problem}")
        try:
            module = importlib.import_module(self.where) if self.file is None else _import_file(self.file)
        except Exception as error:  # whatever a foreign file raises is said in one line
            raise ValueError(f"{self.where} cannot be imported: {type(error).__name__}: {error}") from error
        if not hasattr(module, self.name):
            raise ValueError(f"{self.where}:{self.name}: {suggest(self.name, _public(module))}")
        return getattr(module, self.name)

    def call(self, *given: Any, offered: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Load it and call it.

        Args:
            given: arguments by position.
            offered: arguments by name, each passed if it takes an argument of that name which ``options`` do not set.
            **options: further arguments by name.

        Returns:
            What it returns; an object, for a class.

        Raises:
            ValueError: as `load`, and for arguments that it does not take.
        """
        target = self.load()
        if not callable(target):
            raise ValueError(f"{self.where}:{self.name} is {type(target).__name__}, no function and no class")
        signature = inspect.signature(target)
        options = {name: value for name, value in (offered or {}).items() if name in signature.parameters} | options
        try:
            signature.bind(*given, **options)
        except TypeError as error:
            arguments = ", ".join(signature.parameters) or "none"
            raise ValueError(f"{self.where}:{self.name}: {error}; its arguments are {arguments}") from error
        return target(*given, **options)

    def problems(
        self, options: Mapping[str, Any] | None = None, kind: str = "nowcaster", offered: Iterable[str] | None = None
    ) -> Iterator[str]:
        """What is wrong with the reference, and with options for it, without running any of its code.

        Args:
            options: what is to be passed to it by name; None where only the name is looked for.
            kind: of ``KINDS``, which says what else it is called with.
            offered: those of the arguments which its kind offers that are there; None for all.

        Yields:
            Ends of sentences on the file, the name, and each argument that is unknown or missing.
        """
        source = self.source()
        if source is None:
            what = "file" if self.file is not None else "installed module"
            yield f"there is no {what} {self.where} (relative paths start at {Path.cwd().name}/)"
            return
        if source.suffix != ".py":
            return  # a compiled module
        try:
            defined = Definitions.read(source, "" if self.file is not None else self.where)
        except UNREADABLE as error:
            yield f"{self.where} is no Python file ({error})"
            return
        if self.name not in defined.nodes and not defined.every:
            names = defined.public
            yield f"{self.where} defines no {self.name}{f'; {suggest(self.name, names)}' if names else ''}"
        elif options is not None:
            if (signature := defined.signature(self.name)) is not None:
                yield from _misfits(self.name, signature, options, KINDS[kind], offered)
            bare = KINDS[kind].bare
            if bare and (signature := defined.method(self.name, bare)) is not None and signature.required:
                yield f"its {bare} needs {signature.required[0]!r}, and recipes call it without arguments"

    def constant(self, name: str) -> Any:
        """What a class sets an attribute to in its body, read without running any of its code.

        Args:
            name: of the attribute, such as ``fixed_horizon``.

        Returns:
            The value; None where neither the class nor one that it derives from in the same file sets a plain value.
        """
        source = None if next(self.problems(), None) else self.source()
        if source is None or source.suffix != ".py":
            return None
        return Definitions.read(source).constant(self.name, name)


@cache
def registered(kind: str) -> Mapping[str, str]:
    """The things of a kind that installed packages register: name -> ``MODULE:NAME``."""
    return {entry.name: entry.value for entry in entry_points(group=KINDS[kind].group)}


def _misfits(
    name: str, signature: Signature, options: Iterable[str], kind: Kind, offered: Iterable[str] | None
) -> Iterator[str]:
    """Arguments that a function or class does not take, or needs and does not get."""
    given = signature.positional[: len(kind.given)]
    if len(given) < len(kind.given) and not signature.any_position:
        yield f"{name} takes {len(given)} arguments by position; it is called with {', '.join(kind.given)}"
    allowed = [each for each in (*signature.positional, *signature.keywords) if each not in given]
    for option in options:
        if option not in allowed and not signature.any_name:
            yield f"{name} takes no argument {option!r}; {suggest(option, allowed)}"
    got = (*given, *options, *(kind.offered if offered is None else offered))
    missing = [each for each in signature.required if each not in got]
    for argument in (each for each in missing if each in kind.offered):
        yield f"{name} needs {argument}; set it beside options"
    if others := [each for each in missing if each not in kind.offered]:
        yield f"{name} needs {', '.join(others)}; set it in options"


@cache
def _with_version(module: str) -> str | None:
    """The installed package of a top-level module, as ``name version``; several where they share a namespace."""
    try:
        return f"{module} {version(module)}"
    except PackageNotFoundError:  # it has another name than its module, or none: only now read what all packages hold
        packages = () if module in sys.stdlib_module_names else packages_distributions().get(module, ())
        return ", ".join(f"{name} {version(name)}" for name in sorted({*packages})) or None


def _import_file(path: Path) -> ModuleType:
    """The module of a file, run once for each content that it has."""
    name = f"nino_own_{path.stem}_{sha256(path)[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _public(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
