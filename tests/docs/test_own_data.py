"""docs/own-data.md: its entries are allowed by the config, its function keeps the contract that its command checks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from nino.cli.app import app
from nino.config.data_checks import data_checks
from nino.specs import DataSpec, problems
from nino.specs.values import CONFIG

GUIDE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
ENTRIES = [yaml.safe_load(block)["data"] for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['name']} {entry.get('source', '')}")
def test_entries_are_allowed(entry: dict[str, object]) -> None:
    assert problems(DataSpec, entry, CONFIG) == [] and [*data_checks("data", entry)] == []


def test_the_function_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python title=\"mydata.py\"\n(.*?)```", GUIDE, re.DOTALL)
    Path("mydata.py").write_text(code)
    (line,) = [line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]
    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0 and "keeps the contract of data" in result.output, result.output
