"""Making a run's tables and figures again from its logs, to compare them with those that are there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from nino.report.build import write_tables
from nino.report.figures import write_figures
from nino.report.rendering import LONG
from nino.report.studies import study_names
from nino.report.study_results import write_study
from nino.specs import ReportSpec

STYLE = re.compile(rb"<style>[^<]*</style>|" + LONG.encode())


def altered_tables(
    results: Path, spec: ReportSpec, recorded: Mapping[str, Any], outdated: Set[str], scratch: Path
) -> Iterator[str]:
    """Build tables and captions again, those of studies, too.

    Args:
        results: the run's directory.
        spec: its report.
        recorded: its manifest.
        outdated: tables that an earlier version defined differently.
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
        elif _content(results / name) != _content(path) and path.stem not in outdated:
            yield f"{name}: not what the logs give; {first_difference(results / name, path)}"


def _content(path: Path) -> bytes:
    """What a file says: of a page, all but its style, which may change when no number does."""
    content = path.read_bytes()
    return re.sub(STYLE, b"", content) if path.suffix == ".html" else content


def altered_figures(results: Path, spec: ReportSpec, scratch: Path, again: bool) -> Iterator[str]:
    """Look at every figure, and draw again those that show runs.

    Pictures of neural graphs need a task's data; they show no number of a run, and are held to their checksums.

    Args:
        results: the run's directory.
        spec: its report.
        scratch: where to draw; holds the figures of studies already.
        again: whether code, packages and processor are those that drew the figures.

    Yields:
        A sentence for every file that is no picture, is missing or shows something else.
    """
    for path in sorted((results / "figures").glob("*.*")):
        begins = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml"}.get(path.suffix, b"")
        if not path.read_bytes().startswith(begins):
            yield f"figures/{path.name}: no {path.suffix[1:].upper()} picture"
    if not again:
        return
    write_figures(results, spec, folder=scratch / "figures")
    for path in sorted(path for path in (scratch / "figures").rglob("*.*") if path.is_file()):
        name = path.relative_to(scratch).as_posix()
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
