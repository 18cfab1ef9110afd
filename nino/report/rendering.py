"""Rendering a table: the same numbers and cells as CSV, Markdown, LaTeX, HTML, reStructuredText and plain text."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template

import pandas as pd
from tabulate import tabulate

from nino.files import write_text

WIDTH = 120  # of a terminal, in characters
LATEX = {
    "\\": r"\textbackslash{}",
    **{c: rf"\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    ">": r"$>$",
    "<": r"$<$",
    "×": r"$\times$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "−": "$-$",
    "–": "--",
    "∞": r"$\infty$",
}
RULE = ' class="rule"'
LONG = ' class="long"'  # of a cell that is broken into lines, such as a command: in one line it would be out of sight


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Args:
        name: stem of its files.
        title: what it shows.
        data: the numbers, for the CSV file.
        text: what the other formats show; every cell a string.
        bold: cells (row, column title) that are marked as best.
        rules: rows before which a line is drawn.
        notes: sentences below it.
        findings: sentences on what it shows, computed from the numbers.
    """

    name: str
    title: str
    data: pd.DataFrame
    text: pd.DataFrame
    bold: frozenset[tuple[int, str]] = frozenset()
    rules: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    def csv(self) -> str:
        """The numbers, ten significant digits, empty where there is none."""
        return self.data.to_csv(index=False, float_format="%.10g", lineterminator="\n")

    def markdown(self) -> str:
        """A GitHub table with title, findings and notes."""
        rows = self._cells(lambda value: value.replace("|", r"\|"), lambda value: f"**{value}**")
        table = tabulate(rows, headers=list(self.text.columns), tablefmt="github", disable_numparse=True)
        parts = [f"# {self.title}", *([" ".join(self.findings)] if self.findings else []), table]
        return "\n\n".join([*parts, *self.notes]) + "\n"

    def latex(self) -> str:
        r"""A ``booktabs`` table with caption and label; needs ``\usepackage{booktabs}``."""
        rows = self._cells(latex_escape, lambda value: rf"\textbf{{{value}}}")
        lines = [(r"\midrule" "\n" if i in self.rules else "") + " & ".join(row) + r" \\" for i, row in enumerate(rows)]
        head = " & ".join(latex_escape(str(title)) for title in self.text.columns) + r" \\"
        caption = latex_escape(" ".join([f"{self.title}.", *self.notes]))
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{caption}}}",
                rf"\label{{tab:{self.name}}}",
                rf"\begin{{tabular}}{{{'l' * len(self.text.columns)}}}",
                r"\toprule",
                head,
                r"\midrule",
                *lines,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def html(self) -> str:
        """A page of its own that works offline and on a phone."""
        rows = self._cells(html.escape, lambda value: f"<strong>{value}</strong>")
        cells = ["".join(f"<td{LONG if len(cell) > 40 else ''}>{cell}</td>" for cell in row) for row in rows]
        body = "\n".join(f"<tr{RULE if i in self.rules else ''}>{row}</tr>" for i, row in enumerate(cells))
        return _page().substitute(
            title=html.escape(self.title),
            lead=f"<p>{html.escape(' '.join(self.findings))}</p>" if self.findings else "",
            head="".join(f"<th>{html.escape(str(title))}</th>" for title in self.text.columns),
            body=body,
            notes="\n".join(f"<p>{html.escape(note)}</p>" for note in self.notes),
        )

    def rst(self) -> str:
        """The table alone in reStructuredText, for the report's first page."""
        rows = self._cells(rst_escape, lambda value: f"**{value}**")
        return tabulate(rows, headers=list(self.text.columns), tablefmt="grid", disable_numparse=True) + "\n"

    def plain(self) -> str:
        """The table for a terminal, with title, findings and notes wrapped to 120 characters."""
        rows = self._cells(str, lambda value: f"*{value}")
        for row in sorted(self.rules, reverse=True):
            rows.insert(row, [""] * len(self.text.columns))
        table = tabulate(rows, headers=list(self.text.columns), tablefmt="simple", disable_numparse=True)
        lead = [textwrap.fill(" ".join(self.findings), WIDTH)] if self.findings else []
        notes = [textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in self.notes]
        return "\n".join([self.title, *lead, "", table, "", *notes])

    def write(self, folder: Path) -> list[Path]:
        """Write ``<name>.csv``, ``.md``, ``.tex``, ``.html`` and ``.rst`` to a folder.

        Returns:
            The files.
        """
        renderers = {"csv": self.csv, "md": self.markdown, "tex": self.latex, "html": self.html, "rst": self.rst}
        paths = {folder / f"{self.name}.{extension}": render for extension, render in renderers.items()}
        for path, render in paths.items():
            write_text(path, render())
        return list(paths)

    def _cells(self, escape: Callable[[str], str], bold: Callable[[str], str]) -> list[list[str]]:
        """The text of every cell, escaped, with the best ones marked."""

        def cell(i: int, title: object, value: str) -> str:
            return bold(escape(value)) if (i, title) in self.bold else escape(value)

        return [
            [cell(i, title, value) for title, value in row.items()]
            for i, row in enumerate(self.text.to_dict("records"))
        ]


def latex_escape(text: str) -> str:
    r"""Text for LaTeX: its special characters escaped, the signs that tables use as commands.

    >>> print(latex_escape("50 % ± 2"))
    50 \% $\pm$ 2
    """
    return "".join(LATEX.get(character, character) for character in text)


def rst_escape(text: str) -> str:
    r"""Text for reStructuredText, its markup characters escaped.

    >>> print(rst_escape("wnn_plus *"))
    wnn\_plus \*
    """
    return "".join(f"\\{character}" if character in "\\*`_|" else character for character in text)


@cache
def _page() -> Template:
    """The HTML page that a table stands on."""
    return Template(files("nino.report").joinpath("page.html").read_text("utf-8"))
