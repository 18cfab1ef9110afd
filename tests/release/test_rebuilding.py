"""What counts as another table when one is built again."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from nino.release.rebuilding import _same
from nino.report.rendering import Table

COMMAND = "nino evaluate --config tiny.yaml --task digits-2 --method base --seed 1000"
RELEASED = Path(__file__).parents[2] / "results" / "smoke-v2" / "tables" / "table2.html"


def test_a_page_of_an_earlier_style_says_the_same_and_one_that_was_tampered_with_does_not(tmp_path: Path) -> None:
    data = pd.DataFrame({"Command": [COMMAND], "Steps": ["30"]})
    page = Table("t", "T", data, data).html()
    (style,) = re.findall(r"<style>.*?</style>", RELEASED.read_text(encoding="utf-8"), re.DOTALL)
    earlier = re.sub(r"<style>.*?</style>", style, page, flags=re.DOTALL).replace(' class="long"', "")
    hiding = page.replace("<style>", "<style>\ntr:last-child { display: none; }")
    texts = {"built": page, "earlier": earlier, "hiding": hiding, "number": page.replace(">30<", ">31<")}
    for name, text in texts.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
    assert len({*texts.values()}) == 4
    same = [name for name in texts if _same(tmp_path / f"{name}.html", tmp_path / "built.html")]
    assert same == ["built", "earlier"]
