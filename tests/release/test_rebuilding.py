"""What counts as another table when one is built again."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from nino.release.rebuilding import _content
from nino.report.rendering import Table

COMMAND = "nino evaluate --config tiny.yaml --task digits-2 --method base --seed 1000"


def test_a_page_of_another_style_says_the_same_and_one_of_another_number_does_not(tmp_path: Path) -> None:
    data = pd.DataFrame({"Command": [COMMAND], "Steps": ["30"]})
    page = Table("t", "T", data, data).html()
    plain = re.sub(r"<style>.*?</style>", "<style>p {}</style>", page, flags=re.DOTALL).replace(' class="long"', "")
    said = []
    for i, text in enumerate((page, plain, page.replace(">30<", ">31<"))):
        path = tmp_path / f"{i}.html"
        path.write_text(text, encoding="utf-8")
        said.append(_content(path))
    assert page != plain and said[0] == said[1] != said[2]
