"""The version of the code behind a stage's cached results: it changes only where the code may compute otherwise.

Results of ``collect`` and ``metatrain`` can be shared between checkouts (``snakemake --cache``). Their cache key holds
the stage's config, its data and the text that `stage_version` returns. Three hundred networks are not trained again for
a comma: a version is made from the syntax trees of the modules that the stage runs, without what computes nothing:

- docstrings, comments, formatting, and annotations other than those of a class's fields;
- lines that are logged, and the texts of errors;
- modules that the stage does not run: imports are followed from what its command calls, those inside functions, too,
  but not those that only annotations use. A name that a package re-exports leads to the module that defines it;
- names and places of modules: one that is moved or renamed computes what it did.

Everything else counts, down to the name of a local variable, and so do the versions of Python and of the packages that
can change a number. The syntax trees are written out such that every minor version of Python gives the same text.

Up to version 0.1.0 a version was made from the files' bytes. Cache entries of that time are not found any more: what
they hold is computed once more when a run asks the cache for it, and they may be deleted. Results that lie in a run's
own folder stay as they are, because the rules declare the version as an ``ancient`` input.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nino.provenance import versions

PACKAGE = Path(__file__).parent
STAGES = {
    "collect": (
        "nino.specs.TrajectorySpec",
        "nino.tasks.load_task",
        "nino.trajectories.collect.collect_shard",
        "nino.trajectories.shard_seeds",
    ),
    "metatrain": (
        "nino.specs.MetatrainSpec",
        "nino.metatrain.metatrain",
        "nino.metatrain.open_sources",
        "nino.ranks.joined",
    ),
}
"""What a stage runs, by its name: the spec that its command reads, and what the command calls."""

HARMLESS = ("nino", "pandas", "matplotlib", "snakemake")  # packages whose version changes no bytes of a result
VERSION = "nino.version.__version__"  # the package's own, which changes no bytes of a result either
LOGGERS = ("log", "logger")  # what modules call theirs
SILENT = ("ctx", "kind", "type_comment")  # fields of a syntax tree that say again what its shape says


def stage_version(stage: str, package: Path = PACKAGE) -> str:
    """The version of a stage's code and of the packages that it may use.

    Args:
        stage: a key of ``STAGES``.
        package: folder of the package; default this one.

    Returns:
        A line a package, and one with a SHA-256 of what the stage's modules compute.
    """
    packages = [f"{name} {version}\n" for name, version in versions().items() if name not in HARMLESS]
    return "".join(packages) + f"code {code_digest(*STAGES[stage], package=package)}\n"


def code_digest(*names: str, package: Path = PACKAGE) -> str:
    """SHA-256 of what functions and classes of this package compute, and all modules that they run.

    Args:
        names: full names, such as ``nino.report.figures.write_figures``.
        package: folder of the package; default this one.
    """
    # Of each module, what its imports lead to as well: two modules that change places compute something else.
    parts = [
        (module.digest, sorted((bound, name, _read(target).digest) for bound, name, target in _links(module, package)))
        for module in map(_read, _files(names, package))
    ]
    return _digest(sorted(parts))


def stage_files(stage: str, package: Path = PACKAGE) -> list[Path]:
    """The modules that a stage runs.

    Args:
        stage: a key of ``STAGES``.
        package: folder of the package; default this one.

    Returns:
        Python files, sorted.
    """
    return _files(STAGES[stage], package)


def _files(names: Iterable[str], package: Path) -> list[Path]:
    """The modules that define names, and all that these run."""
    files: set[Path] = set()
    waiting = [_defining_file(name, package) for name in names]
    while waiting:
        if (file := waiting.pop()) not in files:
            files.add(file)
            waiting += [target for _, _, target in _links(_read(file), package)]
    return sorted(files)


@dataclass(frozen=True)
class _Module:
    """A module as far as versions are concerned.

    Args:
        digest: of what it computes, apart from its imports from this package.
        imports: of those, that run: the name that each binds, and the full name of what it imports.
        exports: the same of all its imports, so of those that only annotations use and those of an ``__init__``.
    """

    digest: str
    imports: frozenset[tuple[str, str]]
    exports: dict[str, str]


def _links(module: _Module, package: Path) -> Iterator[tuple[str, str, Path]]:
    """Where the imports of a module lead: the name that each binds, the name that it imports, and the file of that."""
    for bound, target in module.imports:
        yield bound, target.rpartition(".")[2], _defining_file(target, package)


def _defining_file(name: str, package: Path) -> Path:
    """The file of a module, or of the module that defines a name: not that of a package which only exports it."""
    path = package.joinpath(*name.split(".")[1:])
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    parent, _, attribute = name.rpartition(".")
    file = _defining_file(parent, package)
    exports = _read(file).exports if file.name == "__init__.py" else {}
    return _defining_file(exports[attribute], package) if attribute in exports else file


def _read(file: Path) -> _Module:
    return _parse(file.read_text(encoding="utf-8"))


@cache
def _parse(text: str) -> _Module:
    """Read a module, once for all that import it."""
    tree = ast.parse(text)
    all_imports, all_names = _imports_and_names(tree)
    _keep_what_computes(tree)
    imports, names = _imports_and_names(tree)
    run = {(bound, target) for bound, target in imports if bound in names or bound not in all_names}
    ours = frozenset(pair for pair in run if pair[1].startswith("nino.") and pair[1] != VERSION)
    exports = {bound: target for bound, target in all_imports if target.startswith("nino.")}
    return _Module(_digest((sorted(run - ours), _plain(tree))), ours, exports)


def _imports_and_names(tree: ast.AST) -> tuple[set[tuple[str, str]], set[str]]:
    """All imports, as the name that each binds and the full name of what it imports; all names that code mentions."""
    imports, names = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.ImportFrom):
            imports |= {(alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names}
        elif isinstance(node, ast.Import):
            imports |= {(alias.asname or alias.name.partition(".")[0], alias.name) for alias in node.names}
    return imports, names


def _keep_what_computes(tree: ast.Module) -> None:
    """Remove from a module's tree what computes nothing, as this file's docstring lists it."""
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            if isinstance(value, list):
                value[:] = [entry for entry in value if not _is_silent(entry)]
                if not isinstance(
                    node, ast.ClassDef
                ):  # dataclasses and specs are made from annotations of their fields
                    value[:] = map(_unannotated, value)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc.args = [each for each in node.exc.args if not isinstance(each, ast.JoinedStr | ast.Constant)]


def _is_silent(node: Any) -> bool:
    """Whether it is a docstring, a logged line, or imports that only annotations use."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        method = node.value.func
        return isinstance(method, ast.Attribute) and getattr(method.value, "id", None) in LOGGERS
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING"


def _unannotated(node: Any) -> Any:
    return ast.Assign([node.target], node.value) if isinstance(node, ast.AnnAssign) and node.value else node


def _plain(node: Any) -> str:
    """A syntax tree as text.

    Imports and empty fields are left out: what newer Pythons add to a tree is empty for code that older ones read.
    """
    if isinstance(node, list):
        return f"[{','.join(_plain(entry) for entry in node if not isinstance(entry, ast.Import | ast.ImportFrom))}]"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__} {ascii(node.value)}"
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name not in SILENT and value not in (None, [])}
    return f"{type(node).__name__}({','.join(f'{name}={_plain(fields[name])}' for name in sorted(fields))})"


def _digest(value: object) -> str:
    return hashlib.sha256(ascii(value).encode()).hexdigest()
