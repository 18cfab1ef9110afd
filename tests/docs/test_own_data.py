"""docs/own-data.md: its entries are allowed by the config, its function keeps the contract that its command checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from nino.config.data_checks import data_checks
from nino.specs import DataSpec, problems
from nino.specs.values import CONFIG
from tests.docs.guide import commands, nino, read, write_files

GUIDE = read("own-data.md")
ENTRIES = [yaml.safe_load(block)["data"] for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['name']} {entry.get('source', '')}")
def test_entries_are_allowed(entry: dict[str, object]) -> None:
    assert problems(DataSpec, entry, CONFIG) == [] and [*data_checks("data", entry)] == []


def test_the_function_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(GUIDE, tmp_path)
    ((_, *arguments),) = commands(GUIDE)
    assert "keeps the contract of data" in nino(*arguments)
