"""The site's start page leads to every guide, and the site's build notices a page that none leads to."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_every_guide_is_in_the_contents() -> None:
    named = set((DOCS / "index.md").read_text(encoding="utf-8").split())
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} <= named
    assert "toc.not_included" not in (DOCS / "conf.py").read_text(encoding="utf-8")
