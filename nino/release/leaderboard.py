"""The leaderboard: every method of every released version, in one table (Markdown, HTML, CSV)."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from nino.files import write_text
from nino.release.manifest import DEFINITIONS, read_manifest
from nino.release.releases import Release, ReleaseError, releases, verify
from nino.report.columns import METHOD, Column, between, fixed, lay_out, plain
from nino.report.formats import fewer_steps, number
from nino.report.rendering import Table
from nino.report.runs import read_runs
from nino.report.steps_to_target import summary_table
from nino.specs import ReportSpec

FORMATS = ("csv", "md", "html")
COLUMNS = (
    Column("Release", plain("release"), once=True),
    METHOD,
    Column("Mean speed-up, %", lambda row: number(row["speedup_percent"], 1, row["bound"]), bold=itemgetter("best")),
    Column("[Interval] or range", between),
    Column("Reached", lambda row: f"{row['runs_reached']}/{row['runs']}"),
    Column("Tasks", lambda row: f"{row['tasks']}/{row['tasks_planned']}"),
    Column("P(faster)", fixed("probability_of_improvement", 2)),
    Column("IQM, %", fixed("iqm_speedup_percent", 1)),
    Column("Geometric, %", fixed("geometric_speedup_percent", 1)),
    Column("Date", plain("date"), once=True),
)


def leaderboard(folder: Path) -> Table:
    """The methods of all releases, the latest version of each run first, the best method first.

    Args:
        folder: where the releases are, ``results``.

    Returns:
        The table; its numbers are computed from the logs of the releases, so that all are defined alike. A release
        without logs stands there with its own if they are defined as today's.

    Raises:
        ReleaseError: where there is no release, or one was altered.
    """
    every = [one for one in releases(folder) if one.complete]
    if not every:
        raise ReleaseError(f"{folder}: no release there; `nino release RUN` makes one of a complete run")
    if altered := [f"{r.folder}: {sentence}" for r in every for sentence in verify(r.folder)]:
        raise ReleaseError("\n".join(altered))
    rows = {one.folder.name: _rows(one) for one in sorted(every, key=lambda r: (r.name, -r.version))}
    gone = [name for name, of_release in rows.items() if not of_release]
    left_out = f"Left out, as their logs are not there and their numbers are defined otherwise: {', '.join(gone)}."
    return lay_out(
        "leaderboard",
        "Leaderboard",
        COLUMNS,
        [row for of_release in rows.values() for row in of_release],
        group=itemgetter("release"),
        notes=(
            "Mean over tasks of the speed-up in steps to target against the baseline of the same release, all seeds, "
            "a miss counting with the step budget; computed from the releases' logs, so that all are defined alike, "
            "where tables of earlier releases left seeds with a miss out. ≥, ≤: at least, at most; ≈: neither is "
            "known. [ ]: bootstrap interval; x to y: range of two or three seeds. Speed-ups of releases with different "
            "tasks do not compare.",
            "Bold (*): best method of a release, controls apart. A release never changes; nino verify checks it.",
            *([left_out] if gone else []),
        ),
        findings=tuple(_finding(one, best_first) for one in _latest(every) if (best_first := rows[one.folder.name])),
    )


def write_leaderboard(folder: Path) -> list[Path]:
    """Write ``leaderboard.csv``, ``.md`` and ``.html`` to a folder of releases; returns the files."""
    table = leaderboard(folder)
    texts = {"csv": table.csv(), "md": table.markdown(), "html": table.html()}
    for one in releases(folder):
        name, page = one.folder.name, f"{one.folder.name}/tables/table2"
        texts["html"] = texts["html"].replace(f"<td>{name}</td>", f'<td><a href="{page}.html">{name}</a></td>')
        texts["md"] = texts["md"].replace(f"| {name} ", f"| [{name}]({page}.md) ")
    paths = [folder / f"leaderboard.{kind}" for kind in FORMATS]
    for path, kind in zip(paths, FORMATS, strict=True):
        write_text(path, texts[kind])
    return paths


def _rows(one: Release) -> list[dict[str, Any]]:
    """A release's methods, best first, controls last; none where its numbers cannot be those of today's definition."""
    manifest = read_manifest(one.folder)
    if (one.folder / "evaluate").exists():
        table = summary_table(read_runs(one.folder, ReportSpec.from_dict(manifest["report"]))).data
    elif manifest.get("definitions", {}).get("summary", 1) == DEFINITIONS["summary"]:
        table = pd.read_csv(one.folder / "tables" / "summary.csv", dtype={"bound": str}).fillna({"bound": ""})
    else:
        return []
    table = table.sort_values(["role", "speedup_percent"], ascending=False, kind="stable")
    records = table.drop(columns=[c for c in table if str(c).startswith("published")]).to_dict("records")
    head = {"release": one.folder.name, "date": one.date}
    return [head | {str(k): v for k, v in row.items()} for row in records]


def _latest(every: list[Release]) -> list[Release]:
    return list({one.name: one for one in every}.values())  # sorted by version: the latest one replaces the others


def _finding(one: Release, rows: list[dict[str, Any]]) -> str:
    best = next((row for row in rows if row["best"]), None)
    if best is None:
        return f"{one.folder.name}: no method that could be ranked reached the target."
    steps = fewer_steps(best["speedup_percent"], "the baseline", best["bound"])
    if best["interval_kind"] != "none":
        steps += f" ({between(best)})"
    if best["speedup_percent"] <= 0:
        return f"{one.folder.name}: {best['label']}, the best method, took {steps}."
    return f"{one.folder.name}: {best['label']} took {steps}."
