"""The documentation site, built by ``make docs``: the README, the guides, and a page a module from its docstrings.

Docstrings are read, not imported: the site needs none of the packages that nino does.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
from linked_files import LINK, address, inside, publish, targets  # noqa: E402

project = "nino"
extensions = ["myst_parser", "autoapi.extension", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "nino"
html_math_renderer = "mathml"  # formulas are part of the page: no script is fetched to draw them
html_copy_source = False
html_show_sourcelink = False
python_maximum_signature_line_length = 100
default_role = "code"
myst_heading_anchors = 3
autoapi_dirs = [str(ROOT / "nino")]
autoapi_root = "modules"
autoapi_add_toctree_entry = False
autoapi_options = ["members", "show-inheritance", "show-module-summary"]
autoapi_python_class_content = "both"
autoapi_member_order = "bysource"
suppress_warnings = ["ref.python"]  # an annotation `slice` could mean the built-in or an attribute of that name
exclude_patterns = ["modules/index.rst"]  # the generated index of all packages, of which there is one


def redirect(docname: str, markdown: str) -> str:
    """Let links of the repository lead to the site's pages, and to its copies of the files that are no pages."""
    folder = "" if docname == "index" else "docs"

    def replace(match: re.Match[str]) -> str:
        text, target = match["text"], match["target"]
        path = inside(target, folder)
        if path is None:
            return match[0]
        if match["image"]:
            return f"![{text}](../{path})"
        if page := page_of(path):
            _, sharp, anchor = target.partition("#")
            return f"[{text}]({page}{sharp}{anchor})"
        if (there := address(path)) is None:
            raise ExtensionError(f"{docname}: there is no {path}, which it links to")
        return f'<a href="{there}">{text}</a>'

    return LINK.sub(replace, markdown)


def page_of(path: str) -> str | None:
    """The page of a file of the repository, None where it has none."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/") and path.endswith(".md"):
        return path.removeprefix("docs/")
    source = ROOT / path
    if path.startswith("nino") and (source.suffix == ".py" or (source / "__init__.py").is_file()):
        return f"/modules/{path.removesuffix('.py').removesuffix('/__init__')}/index.rst"
    return None


def read(app: Any, docname: str, source: list[str]) -> None:
    """Put the README before the start page's contents, and redirect the links of every page in Markdown."""
    if docname == "index":
        source[0] = (ROOT / "README.md").read_text(encoding="utf-8") + "\n" + source[0]
    if Path(app.env.doc2path(docname)).suffix == ".md":
        source[0] = redirect(docname, source[0])


def finish(app: Any, error: Exception | None) -> None:
    """Lay what the pages link to beside them."""
    if error is None and app.builder.format == "html":
        pages = {ROOT / "README.md": "", **dict.fromkeys((ROOT / "docs").glob("*.md"), "docs")}
        linked = [path for page, folder in pages.items() for path in targets(page.read_text("utf-8"), folder)]
        publish([path for path in linked if page_of(path) is None], Path(app.outdir))


def inline_math(translator: Any, node: nodes.math) -> None:
    """Write a formula as MathML."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block_math(translator: Any, node: nodes.math_block) -> None:
    """Write a formula on lines of its own as MathML."""
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Register the above with Sphinx."""
    app.connect("source-read", read)
    app.connect("build-finished", finish)
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
