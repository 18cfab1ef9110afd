"""The site's start page leads to every guide, and the site's build notices a page that none leads to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"\[(?:[^\[\]]|\\[\[\]])+\]\(([^)\s]+)\)")


def test_every_guide_is_in_the_contents() -> None:
    named = set((DOCS / "index.md").read_text(encoding="utf-8").split())
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} <= named
    assert "toc.not_included" not in (DOCS / "conf.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_everything_that_a_page_links_to_can_be_opened(page: Path) -> None:
    targets = [target.replace("\\", "").partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8"))]
    inside = [target for target in targets if target and "://" not in target]
    assert [target for target in inside if not (page.parent / target).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_of_a_release_that_a_page_names_is_a_link(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`(?:\.\./)?(results/[\w-]+-v\d+/[^`<>*]+\.\w+)`", text)
    assert [name for name in named if (ROOT / name).is_file() and f"{name})" not in text] == []


def test_pages_show_the_figures_that_matter() -> None:
    shown = [
        image for page in PAGES for image in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    ]
    assert len(shown) >= 6 and all(image.endswith(".png") for image in shown)


def test_the_paper_is_cited_as_in_the_citation_file() -> None:
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    entries = (DOCS / "paths.md").read_text(encoding="utf-8").split("## Cite it")[1]
    paper = told["preferred-citation"]
    authors = " and ".join(f"{each['family-names']}, {each['given-names']}" for each in paper["authors"])
    for text in (paper["title"], authors, str(paper["year"]), told["title"], told["version"], told["license"]):
        assert f"{{{text}}}" in entries
