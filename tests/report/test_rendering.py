from __future__ import annotations

import html
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from nino.report.rendering import Table, latex_escape
from nino.workflow import FOLDER


@pytest.fixture
def table() -> Table:
    return Table(
        name="t",
        title="A & B",
        data=pd.DataFrame({"task": ["a_1", "b"], "value": [1 / 3, float("nan")]}),
        text=pd.DataFrame({"Task": ["a_1", "b"], "Gain, %": ["5 ± 1", "–"]}),
        bold=frozenset({(0, "Gain, %")}),
        rules=(1,),
        notes=("p > 0.05",),
        findings=("It is so.",),
    )


def test_csv_reads_back(table: Table) -> None:
    again = pd.read_csv(io.StringIO(table.csv()))
    assert again.task.tolist() == ["a_1", "b"]
    assert again.value[0] == pytest.approx(1 / 3, rel=1e-9) and pd.isna(again.value[1])


def test_markdown_marks_the_best_and_keeps_cells_apart(table: Table) -> None:
    text = table.markdown()
    assert "**5 ± 1**" in text and text.startswith("# A & B\n\nIt is so.")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and len({row.count("|") for row in rows}) == 1


def test_latex_is_balanced_and_escaped(table: Table) -> None:
    text = table.latex()
    assert r"\textbf{5 $\pm$ 1}" in text and r"a\_1" in text and r"A \& B" in text and "p $>$ 0.05" in text
    assert text.count("{") == text.count("}")
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert [text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == sorted(
        text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")
    )
    assert text.count(r"\midrule") == 2
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == 3 and all(line.count(" & ") == 1 for line in body)


def test_every_special_sign_of_tables_has_a_latex_form() -> None:
    assert latex_escape("±→≤≥×†‡−–∞").isascii()
    assert latex_escape("\\_{}") == r"\textbackslash{}\_\{\}"


def test_html_is_well_formed_and_needs_nothing_from_elsewhere(table: Table) -> None:
    text = table.html()
    assert "<strong>5 ± 1</strong>" in text and "A &amp; B" in text and "http" not in text
    parser = Balance()
    parser.feed(text)
    assert not parser.open


def test_rst_has_every_cell_and_no_markup_of_its_own(table: Table) -> None:
    docutils = pytest.importorskip("docutils.core")
    body = docutils.publish_parts(table.rst(), writer="html")["body"]
    assert body.count("<tr") == len(table.text) + 1
    assert body.count("<strong>") == len(table.bold)
    cells = [html.unescape(re.sub("<[^>]+>", "", cell)).strip() for cell in re.findall(r"<td>(.*?)</td>", body, re.S)]
    assert [cell for cell in cells if cell] == [cell for cell in table.text.to_numpy().flatten() if cell]


def test_plain_text_rules_off_groups(table: Table) -> None:
    lines = table.plain().splitlines()
    assert lines[0] == "A & B" and "*5 ± 1" in table.plain()
    assert any(line.strip() == "" for line in lines[4:7])


def test_writing_twice_gives_the_same_bytes(table: Table, tmp_path: Path) -> None:
    first = [path.read_bytes() for path in table.write(tmp_path)]
    assert [path.read_bytes() for path in table.write(tmp_path)] == first
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".html", ".md", ".rst", ".tex"]


class Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_no_text_of_a_page_is_wider_than_a_phone(table: Table) -> None:
    """A long cell and a heading are broken into lines; the table scrolls in its own frame, the page does not."""
    command = "nino evaluate --config tiny.yaml --task digits-2 --method base --seed 1000"
    text = Table("t", "T", table.data, table.text.assign(Command=command)).html()
    assert text.count(f'<td class="long">{command}</td>') == len(table.text)
    rules = dict(re.findall(r"^([\w. ]+) \{ ([^}]*)\}", text, re.MULTILINE))
    assert "overflow-x: auto" in rules[".wide"]
    assert "white-space: normal" in rules["td.long"] and "white-space: normal" in rules["th"]
    assert 'class="wide">\n<table>' in text and "width=device-width" in text


def test_the_report_s_own_text_is_no_wider_than_a_phone() -> None:
    """Snakemake's first page is a column of flex items, each as wide as its widest table unless told not to be."""
    style = (FOLDER / "report" / "style.css").read_text(encoding="utf-8")
    phone = style[style.index("@media (max-width: 700px) {") :].partition("\n}\n")[0]
    assert "#app > div > nav + div > div > * { max-width: 100%; }" in phone
    assert "#app .prose table { display: block; overflow-x: auto; }" in style
