"""README.md: what it shows is what the committed results say."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def rows(text: str) -> list[tuple[str, ...]]:
    """The cells of every table row of a Markdown text."""
    return [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in text.splitlines() if line.startswith("|")]


def test_the_table_shown_is_the_one_in_the_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme[readme.index("results/smoke-v1/tables/table2.md)") : readme.index("## On your own model")]
    table = rows((ROOT / "results" / "smoke-v1" / "tables" / "table2.md").read_text(encoding="utf-8"))
    heading, _, *body = rows(shown)
    assert heading == table[0]
    assert len(body) > 10
    assert [row for row in body if row not in table] == []


def test_the_rows_of_real_data_are_those_in_the_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = rows(readme[readme.index("### Real data on CPU cores") : readme.index("### On a cluster")])
    tables = [ROOT / "results" / run / "tables" / "table2.md" for run in ("cpu-v1", "cpu-32-v1", "language-cpu-v1")]
    tables.append(ROOT / "results" / "acceptance-v1" / "tables" / "acceptance.md")
    there = [row for table in tables for row in rows(table.read_text(encoding="utf-8"))]
    assert len(shown) > 10
    assert [row for row in shown if row not in there and set("".join(row)) != {"-"}] == []


def test_every_file_it_names_is_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link.replace("\\", "") for link in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in link]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
