"""The leaderboard: every method of every released version, in one table (Markdown, HTML, CSV)."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from nino.files import write_text
from nino.release.releases import Release, ReleaseError, releases, verify
from nino.report.columns import METHOD, Column, fixed, interval, lay_out, plain
from nino.report.formats import fewer_steps
from nino.report.rendering import Table

FORMATS = ("csv", "md", "html")
COLUMNS = (
    Column("Release", plain("release"), once=True),
    METHOD,
    Column("Mean speed-up, %", fixed("speedup_percent", 1), bold=itemgetter("best")),
    Column("Interval", interval()),
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
        The table; its numbers are those of the releases' own summary tables.

    Raises:
        ReleaseError: where there is no release, or one was altered.
    """
    every = [one for one in releases(folder) if one.complete]
    if not every:
        raise ReleaseError(f"{folder}: no release there; `nino release RUN` makes one of a complete run")
    if altered := [f"{r.folder}: {sentence}" for r in every for sentence in verify(r.folder)]:
        raise ReleaseError("\n".join(altered))
    return lay_out(
        "leaderboard",
        "Leaderboard",
        COLUMNS,
        [row for one in sorted(every, key=lambda r: (r.name, -r.version)) for row in _rows(one)],
        group=itemgetter("release"),
        notes=(
            "Mean over tasks of the speed-up in steps to target against the baseline of the same release, with its "
            "interval; what each column means stands below the release's own summary table. Speed-ups of releases "
            "with different tasks do not compare.",
            "Bold (*): best method of a release, controls apart. A release never changes; nino verify checks it.",
        ),
        findings=tuple(_finding(one) for one in _latest(every)),
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
    """A release's methods, best first, controls last."""
    table = pd.read_csv(one.folder / "tables" / "summary.csv")
    ranked = table[(table.role == "method") & table.speedup_percent.notna()]
    ranked = ranked.assign(share=ranked.runs_reached / ranked.runs).sort_values(["share", "speedup_percent"])
    best = ranked.method.iloc[-1] if len(ranked) else None
    table = table.sort_values(["role", "speedup_percent"], ascending=False, kind="stable")
    records = table.drop(columns=[c for c in table if str(c).startswith("published")]).to_dict("records")
    head = {"release": one.folder.name, "date": one.date}
    return [head | {str(k): v for k, v in row.items()} | {"best": row["method"] == best} for row in records]


def _latest(every: list[Release]) -> list[Release]:
    return list({one.name: one for one in every}.values())  # sorted by version: the latest one replaces the others


def _finding(one: Release) -> str:
    best = next((row for row in _rows(one) if row["best"]), None)
    if best is None:
        return f"{one.folder.name}: no method reached the target together with the baseline."
    steps = f"{fewer_steps(best['speedup_percent'])} than the baseline"
    if best["speedup_percent"] <= 0:
        return f"{one.folder.name}: {best['label']}, the best method, takes {steps}."
    return f"{one.folder.name}: {best['label']} is ahead with {steps}."
