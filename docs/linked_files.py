"""What pages link to that is no page: tables, figures, configs and records of the repository, opened in the site.

Each file lies below ``files/`` of the site: pictures and HTML as they are, Markdown and all other text as a page.
"""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path
from posixpath import dirname, normpath, relpath
from string import Template

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from pygments.lexers.special import TextLexer
from pygments.util import ClassNotFound

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "files"
AS_THEY_ARE = (".png", ".svg", ".html")
LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\\[\[\]])+)\]\((?P<target>[^)\s]+)\)")
HREF = re.compile(r'href="([^"]+)"')
PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto; padding: 0 1rem; max-width: 72rem; color: #1a1a1a;
  background: #fff; overflow-wrap: anywhere; }
pre, table { display: block; overflow-x: auto; overflow-wrap: normal; }
table { border-collapse: collapse; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #bbb; text-align: left; }
img { max-width: 100%; }
$style
</style>
</head>
<body>
<p><a href="$home">nino</a>: $title</p>
$body
</body>
</html>
""")


def address(path: str) -> str | None:
    """Where a file of the repository is opened, relative to the site's root; None where there is no such file.

    Args:
        path: relative to the repository's root.
    """
    source = ROOT / path
    if not source.is_file():
        return None
    if path == "README.md":
        return "index.html"
    if path.endswith(".md") and dirname(path) == "docs":
        return f"{source.stem}.html"
    if source.suffix == ".md" and source.with_suffix(".html").is_file():  # a result's table, as the report shows it
        return f"{FOLDER}/{path.removesuffix('.md')}.html"
    return f"{FOLDER}/{path}" if source.suffix in AS_THEY_ARE else f"{FOLDER}/{path}.html"


def targets(markdown: str, folder: str) -> list[str]:
    """The files that a Markdown text links to, relative to the repository's root.

    Args:
        markdown: the text.
        folder: that the text lies in, relative to the root; empty for the root itself.
    """
    return [found for match in LINK.finditer(markdown) if (found := inside(match["target"], folder)) is not None]


def inside(target: str, folder: str) -> str | None:
    """The path of a link's target relative to the repository's root; None for a link to elsewhere or within a page."""
    if "://" in target or target.startswith(("#", "mailto:")):
        return None
    path = target.replace("\\", "").partition("#")[0]
    return normpath(f"{folder}/{path}").lstrip("/")


def publish(paths: list[str], site: Path) -> None:
    """Write files, and those that their own text links to, into the site.

    Args:
        paths: relative to the repository's root; those that are not there are left out.
        site: the folder that the site is built in.
    """
    waiting, done = list(paths), set()
    while waiting:
        path = waiting.pop()
        if path in done or (where := address(path)) is None or not where.startswith(f"{FOLDER}/"):
            continue
        done.add(path)
        shown = ROOT / where.removeprefix(f"{FOLDER}/")
        out = site / where
        out.parent.mkdir(parents=True, exist_ok=True)
        if shown.is_file():
            shutil.copyfile(shown, out)
            if shown.suffix == ".html":
                linked = HREF.findall(shown.read_text(encoding="utf-8"))
                waiting += [target for each in linked if (target := inside(each, dirname(path))) is not None]
        elif path.endswith(".md"):
            text = (ROOT / path).read_text(encoding="utf-8")
            waiting += targets(text, dirname(path))
            out.write_text(_page(path, where, _rendered(text, path, where)), encoding="utf-8")
        else:
            out.write_text(_page(path, where, _highlighted(path)), encoding="utf-8")


def _rendered(markdown: str, path: str, where: str) -> str:
    """Markdown as HTML; its links lead to the site's copies, those to what is not there become plain text."""

    def replace(match: re.Match[str]) -> str:
        target = inside(match["target"], dirname(path))
        if target is None:
            return match[0]
        there = address(target)
        return f"{match['image']}[{match['text']}]({relpath(there, dirname(where))})" if there else match["text"]

    return str(MarkdownIt("commonmark").enable("table").render(LINK.sub(replace, markdown)))


def _highlighted(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    try:
        lexer = get_lexer_for_filename(path)
    except ClassNotFound:
        lexer = TextLexer()
    return str(highlight(text, lexer, HtmlFormatter()))


def _page(path: str, where: str, body: str) -> str:
    home = relpath("index.html", dirname(where))
    return PAGE.substitute(title=html.escape(path), style=HtmlFormatter().get_style_defs(), home=home, body=body)
