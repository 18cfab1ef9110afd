"""docs/architecture.md says which room may import which; the code does not do otherwise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "nino"
ROW = re.compile(r"^\| (\d+) \| `(\w+)` \|", re.MULTILINE)
OUTSIDE = {"nino", "nino.__main__"}  # the public names, loaded when asked for, and `python -m nino`


@cache
def rooms() -> dict[str, int]:
    """Room -> its place in the document's table, from below."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return {room: place for place, (_, room) in enumerate(ROW.findall(text))}


def module_name(path: Path) -> str:
    """The dotted name of a file of the package."""
    path = path.parent if path.name == "__init__.py" else path.with_suffix("")
    return ".".join(path.relative_to(ROOT).parts)


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def named_imports(module: str) -> list[tuple[str, str, str]]:
    """All that a module imports by ``from``, anywhere: the name that it binds, the module, and the name there."""
    nodes = ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8")))
    froms = (node for node in nodes if isinstance(node, ast.ImportFrom) and node.module in modules())
    return [(alias.asname or alias.name, str(node.module), alias.name) for node in froms for alias in node.names]


def definer(module: str, name: str) -> str:
    """The module that defines a name: not that of a package which only exports it."""
    if (inner := f"{module}.{name}") in modules():
        return inner
    if modules()[module].name == "__init__.py":
        for bound, source, there in named_imports(module):
            if bound == name:
                return definer(source, there)
    return module


def imports(module: str) -> Iterator[str]:
    """Modules whose names a module imports anywhere, for type checking and inside functions too."""
    yield from (definer(source, name) for _, source, name in named_imports(module))
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_module_is_in_a_room_and_every_room_has_modules() -> None:
    there = {room(module) for module in modules() if module not in OUTSIDE}
    assert there == set(rooms())


def test_floors_are_in_order() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    floors = [int(floor) for floor, _ in ROW.findall(text)]
    assert len(floors) > 20
    assert floors == sorted(floors)


def test_imports_point_down() -> None:
    upward = [
        f"{module} imports {imported}"
        for module in modules()
        if module not in OUTSIDE
        for imported in imports(module)
        if imported not in OUTSIDE and rooms()[room(imported)] > rooms()[room(module)]
    ]
    assert upward == []


def test_no_circle_between_files() -> None:
    graph = {module: set(imports(module)) - {module} for module in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"these import each other in a circle: {' -> '.join(error.args[1])}") from None
