"""README.md: what it shows is what the committed results say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def rows(text: str) -> list[tuple[str, ...]]:
    """The cells of every table row of a Markdown text."""
    return [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in text.splitlines() if line.startswith("|")]


def tables(text: str) -> list[list[tuple[str, ...]]]:
    """The tables of a Markdown text, each as its heading and its rows."""
    every = [rows(block) for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    return [[heading, *body] for heading, _, *body in every]


def released(run: str, heading: tuple[str, ...], name: str = "table2") -> set[tuple[str, ...]]:
    """The rows of a released table, those of its columns that a heading names."""
    [[titles, *body]] = tables((ROOT / "results" / run / "tables" / f"{name}.md").read_text(encoding="utf-8"))
    assert set(heading) <= set(titles)
    return {tuple(row[titles.index(title)] for title in heading) for row in body}


@pytest.mark.parametrize(
    ("after", "run", "name", "count"),
    [
        ("results/smoke-v2/tables/table2.md)", "smoke-v2", "table2", 14),
        ("[results/cpu-v2/tables/table2.md]", "cpu-v2", "table2", 12),
        ("[results/cpu-32-v2/tables/table2.md]", "cpu-32-v2", "table2", 4),
        ("[results/language-cpu-v2/tables/table2.md]", "language-cpu-v2", "table2", 3),
        ("[table](results/acceptance-v2/tables/acceptance.md)", "acceptance-v2", "acceptance", 3),
    ],
)
def test_the_tables_shown_are_those_in_the_results(after: str, run: str, name: str, count: int) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    heading, *body = tables(readme[readme.index(after) :])[0]
    assert len(body) == count
    assert set(body) <= released(run, heading, name)


def test_every_file_it_names_is_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link.replace("\\", "") for link in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in link]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
