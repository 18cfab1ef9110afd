"""Rows of the zoo: files of them, what they are counted as, and what is left out.

    python -m benchmarks.zoo_rows

writes ``benchmarks/results/zoo_counts.csv`` and ``zoo_rest.csv`` from the rows of all libraries beside them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("library", "kind", "model", "parameters", "unread", "on_edges", "verified", "renumbered", "seconds",
           "megabytes", "outcome", "why")  # fmt: skip
COUNTS = ("library", "kind", "models", "run", "recorded", "share", "verified")
REST = ("library", "model", "outcome", "why")
FILES = ("families", "torchvision", "timm", "transformers")
Row = dict[str, Any]

#: What stands under ``verified`` for a graph that calls no neurons interchangeable: nothing was checked.
NOTHING = "nothing to renumber"


def read(path: Path) -> list[Row]:
    """Rows of a file, none if it does not exist."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> None:
    """Write rows beside the file, and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    beside.replace(path)


def runs(row: Row) -> bool:
    """Whether the model could be built small enough, and ran on the example that was made for it."""
    return row["outcome"] in ("recorded", "refused")


def whole(row: Row) -> bool:
    """Whether at least 95 % of the parameters that the forward reads lie on edges, and no renumbering has failed."""
    return (
        row["outcome"] == "recorded" and float(row["on_edges"]) >= 0.95 and row.get("verified") not in ("no", "error")
    )


def verified(row: Row) -> bool:
    """Whether it is whole, and renumbering in float64 has kept its outputs."""
    return whole(row) and row.get("verified") == "yes"


def settled(row: Row) -> bool:
    """Whether it is whole, and there is nothing to renumber or it has been renumbered."""
    return whole(row) and row.get("verified") in ("yes", NOTHING)


def counts(rows: Iterable[Row]) -> list[Row]:
    """How many models of each kind run, are recorded whole, and are verified."""
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        kinds.setdefault((row["library"], row["kind"]), []).append(row)
    out = []
    for (library, kind), of_kind in kinds.items():
        run, done = sum(map(runs, of_kind)), sum(map(whole, of_kind))
        share = f"{done / run:.1%}" if run else ""
        out.append({"library": library, "kind": kind, "models": len(of_kind), "run": run, "recorded": done,
                    "share": share, "verified": sum(map(verified, of_kind))})  # fmt: skip
    return out


def rest(rows: Iterable[Row]) -> list[Row]:
    """Models that are not recorded whole and verified (where there is something to renumber), and what stopped them."""
    return [{column: row.get(column, "") for column in REST} for row in rows if not settled(row)]


def all_rows() -> list[Row]:
    """The rows of all libraries."""
    return [row for name in FILES for row in read(RESULTS / f"zoo_{name}.csv")]


def main() -> None:
    """Write the two tables."""
    write(RESULTS / "zoo_counts.csv", counts(all_rows()), COUNTS)
    write(RESULTS / "zoo_rest.csv", rest(all_rows()), REST)


if __name__ == "__main__":
    main()
