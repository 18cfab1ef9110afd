"""The leaderboard: every method of every released version, in one table (Markdown, HTML, CSV)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nino.files import write_text
from nino.report.release import Release, ReleaseError, releases, verify
from nino.report.table import EMPTY, Table, number

FORMATS = ("csv", "md", "html")


def leaderboard(folder: Path) -> Table:
    """The methods of all releases, the latest version of each run first, the best method first.

    Args:
        folder: where the releases are, ``results``.

    Returns:
        The table; its numbers are those of the releases' own summary tables.

    Raises:
        ReleaseError: where there is no release, or one was altered.
    """
    known = releases(folder)
    if not known:
        raise ReleaseError(f"{folder}: no release there; `nino release RUN` makes one of a complete run")
    if altered := [f"{r.folder}: {sentence}" for r in known for sentence in verify(r.folder)]:
        raise ReleaseError("\n".join(altered))
    rows: list[dict[str, Any]] = []
    rules = []
    for one in sorted(known, key=lambda r: (r.name, -r.version)):
        if rows:
            rules.append(len(rows))
        rows += _rows(one)
    frame = pd.DataFrame([_text(row) for row in rows], dtype=object)
    for column in ("Release", "Date"):
        frame[column] = [
            value if i == 0 or rows[i]["release"] != rows[i - 1]["release"] else ""
            for i, value in enumerate(frame[column])
        ]
    return Table(
        name="leaderboard",
        title="Leaderboard",
        data=pd.DataFrame(rows),
        text=frame,
        bold=frozenset((i, "Mean speed-up, %") for i, row in enumerate(rows) if row["best"]),
        rules=tuple(rules),
        notes=(
            "Mean over tasks of the speed-up in steps to target against the baseline of the same release, with its "
            "interval; what each column means stands below the release's own summary table. Speed-ups of releases "
            "with different tasks do not compare.",
            "Bold (*): best method of a release, controls apart. A release never changes; nino verify checks it.",
        ),
        found=tuple(_finding(one) for one in _latest(known)),
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


def _text(row: dict[str, Any]) -> dict[str, str]:
    interval = f"[{number(row['interval_low'], 1)}, {number(row['interval_high'], 1)}]"
    return {
        "Release": row["release"],
        "Method": row["label"] + (" (control)" if row["role"] == "control" else ""),
        "Mean speed-up, %": number(row["speedup_percent"], 1),
        "Interval": interval if np.isfinite(row["interval_low"]) else EMPTY,
        "Reached": f"{row['runs_reached']}/{row['runs']}",
        "Tasks": f"{row['tasks']}/{row['tasks_planned']}",
        "P(faster)": number(row["probability_of_improvement"], 2),
        "IQM, %": number(row["iqm_speedup_percent"], 1),
        "Geometric, %": number(row["geometric_speedup_percent"], 1),
        "Date": row["date"],
    }


def _latest(known: list[Release]) -> list[Release]:
    return list({one.name: one for one in known}.values())  # sorted by version: the last one stays


def _finding(one: Release) -> str:
    best = next((row for row in _rows(one) if row["best"]), None)
    if best is None:
        return f"{one.folder.name}: no method reached the target together with the baseline."
    gain = best["speedup_percent"]
    amount = f"{abs(gain):.1f} % {'fewer' if gain >= 0 else 'more'} steps"
    return f"{one.folder.name}: {best['label']} is ahead with {amount} than the baseline."
