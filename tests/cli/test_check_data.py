"""`nino check` on data: a function, an entry of a config, and all data of one's own that a config names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from nino.cli.app import app
from nino.cli.messages import message

ROOT = Path(__file__).parents[2]


def check(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *arguments])
    return result.exit_code, f"{result.output}{result.exception or ''}"


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("x,y\n" + "".join(f"{i % 9},{'ab'[i % 2]}\n" for i in range(100)))
    return {"name": "table", "source": "csv", "path": "t.csv", "options": {"target": "y"}}


def test_an_entry_of_a_config(table: dict[str, object]) -> None:
    code, said = check(json.dumps(table), "--kind", "data")
    assert code == 0 and "keeps the contract" in said
    assert "10 of 10 examples of test are in train, too" in said  # 18 rows are all that there are
    Path("t.csv").write_text("x,y\n" + "1,a\n" * 30)
    code, said = check(json.dumps(table), "--kind", "data")
    assert code == 1 and "load: ValueError: data 'table': target 'y' is 'a' in every row" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "def load():\n    pass\n\nno_such_name\n",
            "NameError: name 'no_such_name' is not defined (own.py:4); see --debug",
        ),
        ("def load():\n    return [][1]\n", "IndexError: list index out of range (own.py:2); see --debug"),
        ("import json\ndef load():\n    json.loads('{')\n", " (own.py:3); see --debug"),
    ],
)
@pytest.mark.parametrize("option", ["--kind", "--data"])
def test_an_error_names_the_line_of_the_own_file(
    option: str, text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(f"{text}# {option}")  # a file of the same content would not be run again
    if option == "--kind":
        code, said = check("own.py:load", "--kind", "data")
        assert code == 1 and says in said
    else:  # the data that another part is tried on: the command ends in the error, which names the line once
        result = CliRunner().invoke(app, ["check", "mlp", "--kind", "model", "--data", "own.py:load"])
        assert isinstance(result.exception, ValueError)
        assert (told := message(result.exception)) is not None and told.endswith(says)


def test_all_data_of_a_config(table: dict[str, object]) -> None:
    Path("config.yaml").write_text((ROOT / "config.yaml").read_text())
    Path("bad.py").write_text("def load():\n    return {'train': ([[0.0], [float('nan')]] * 9, [0, 1] * 9)}\n")
    task = yaml.safe_load((ROOT / "tests" / "workflow" / "tiny.yaml").read_text())["tasks"]["digits-2"]
    model = {"name": "mlp", "options": {"hidden": [4]}}
    tasks = {
        "csv": {**task, "data": table, "model": model},
        "own": {**task, "data": {"name": "bad.py:load"}, "model": model},
    }
    evaluate = {"tasks": ["csv", "own"], "rows": ["base", "linear"], "schedule": {"period": 10, "max_horizon": 8}}
    Path("mine.yaml").write_text(yaml.safe_dump({"run": "mine", "tasks": tasks, "evaluate": evaluate}))
    code, said = check("--config", "mine.yaml")
    assert code == 1 and "tasks.csv.data (=table): keeps the contract of data" in said
    assert (
        "9 of 18 numbers in inputs of train are no finite float32" in said
        and "tasks.own.data.name (=bad.py:load): 1 violations" in said
    )
