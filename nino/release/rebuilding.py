"""Making a run's tables and figures again from its logs, to compare them with those that are there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from nino.report.build import write_tables
from nino.report.figures import write_captions, write_figures
from nino.report.rendering import LONG
from nino.report.runs import Runs
from nino.report.studies import study_names
from nino.report.study_results import write_study
from nino.specs import ReportSpec

STYLE = re.compile(rb"<style>[^<]*</style>")
STYLES = ("6bffd29158c2d5f705dc29fcd544ee517c18de679b34727f3a4b3f5eba75908e",)
"""SHA-256 of the styles that earlier versions gave to pages; any other style could hide a row."""


def altered_tables(
    results: Path, spec: ReportSpec, recorded: Mapping[str, Any], outdated: Set[str], reworded: bool, scratch: Path
) -> Iterator[str]:
    """Build tables and captions again, those of studies, too.

    Args:
        results: the run's directory.
        spec: its report.
        recorded: its manifest.
        outdated: tables that an earlier version defined differently.
        reworded: whether an earlier version put sentences differently: then only the cells of tables are compared.
        scratch: an empty folder, where they are built.

    Yields:
        A sentence for every file that is missing or other than what the logs give.
    """
    write_tables(results, spec, scratch / "tables")
    asked = (recorded["config"] or {}).get("report", {}).get("studies", ())
    there = {Path(name).stem for name in recorded["artifacts"]} | {path.stem for path in (results / "tables").glob("*")}
    for name in study_names():
        if name in there or name in asked:
            write_study(name, results, spec, scratch)
    for path in sorted((scratch / "tables").rglob("*")):
        name = f"tables/{path.relative_to(scratch / 'tables').as_posix()}"
        if path.is_dir():
            continue
        if not (results / name).exists():
            yield f"{name}: missing, though the logs give it"
        elif path.stem in outdated or (reworded and (path.suffix == ".json" or path.parent.name == "captions")):
            continue
        elif not (_same_cells if reworded else _same)(results / name, path):
            yield f"{name}: not what the logs give; {first_difference(results / name, path)}"


def _same(there: Path, built: Path) -> bool:
    """Whether two files say the same; pages may have a style of an earlier version."""
    old, new = there.read_bytes(), built.read_bytes()
    if old == new or built.suffix != ".html":
        return old == new
    styles = {*STYLES, *(hashlib.sha256(style).hexdigest() for style in STYLE.findall(new))}

    def unstyled(page: bytes) -> bytes:
        plain = STYLE.sub(lambda s: b"" if hashlib.sha256(s[0]).hexdigest() in styles else s[0], page)
        return plain.replace(LONG.encode(), b"")

    return unstyled(old) == unstyled(new)


def _same_cells(there: Path, built: Path) -> bool:
    """Whether two files of a table have the same cells, whatever is said above and below them."""
    is_row: Callable[[str], bool] = {
        ".md": lambda line: line.startswith("|"),
        ".tex": lambda line: line.endswith(r"\\"),
        ".html": lambda line: line.startswith("<tr"),
    }.get(built.suffix, lambda line: True)
    old, new = (
        [line.replace(LONG, "") for line in path.read_text("utf-8", "replace").splitlines() if is_row(line)]
        for path in (there, built)
    )
    return old == new


def altered_figures(results: Path, runs: Runs, scratch: Path, again: bool, reworded: bool) -> Iterator[str]:
    """Look at every figure, build captions again, and draw again the figures that show runs.

    Pictures of neural graphs need a task's data; they show no number of a run, and are held to their checksums.

    Args:
        results: the run's directory.
        runs: its runs.
        scratch: where to draw; holds the figures of studies already.
        again: whether code, packages and processor are those that drew the figures.
        reworded: whether an earlier version put sentences differently: then captions are not compared.

    Yields:
        A sentence for every file that is no picture, is missing or shows something else.
    """
    for path in sorted((results / "figures").glob("*.*")):
        begins = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml"}.get(path.suffix, b"")
        if not path.read_bytes().startswith(begins):
            yield f"figures/{path.name}: no {path.suffix[1:].upper()} picture"
    if not any((results / "figures").glob("*.*")):
        return  # there are tables alone, no figure of the run has been drawn
    if again:
        write_figures(results, runs.spec, folder=scratch / "figures")
    elif not reworded:
        write_captions(runs, scratch / "figures")
    for path in sorted(path for path in (scratch / "figures").rglob("*.*") if path.is_file()):
        name = path.relative_to(scratch).as_posix()
        if not again and (reworded or path.suffix != ".rst"):
            continue
        if not (results / name).exists():
            yield f"{name}: missing, though the logs give it"
        elif (results / name).read_bytes() != path.read_bytes():
            yield f"{name}: not what the logs give"


def first_difference(there: Path, built: Path) -> str:
    """The first line in which two text files differ."""
    old, new = (path.read_text(encoding="utf-8", errors="replace").splitlines() for path in (there, built))
    for number, (a, b) in enumerate(zip(old, new, strict=False), start=1):
        if a != b:
            return f"line {number} is {a.strip()!r}, the logs give {b.strip()!r}"
    return f"{len(old)} lines, the logs give {len(new)}"
