from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from nino.cli.app import app
from nino.report.origins import origins_table
from nino.report.runs import Key, read_runs

from .conftest import hit_runs

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_every_run_has_a_row_with_its_origin(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400, 400], "nino": [200, 300]})
    results = next(tmp_path.rglob("evaluate")).parent
    task = runs.spec.tasks[0].id
    path = Key(task, "nino", runs.spec.seeds[1]).folder(results) / "run.json"
    weights = {"path": "results/fake/metatrain/nino/best.safetensors", "sha256": "ab"}
    origin = {
        "git": {"commit": COMMIT, "dirty": True},
        "hardware": {"cpu": "Some CPU", "cores": 2, "gpus": []},
        "inputs": {"data": "c0ffee00112233", "nowcaster": weights},
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | {"provenance": origin}))
    table = origins_table(read_runs(results, runs.spec))
    assert len(table.text) == len(runs.frame)
    shown = table.text[(table.data.method == "nino") & (table.data.seed == runs.spec.seeds[1])].iloc[0]
    assert shown["Commit"] == "0123456789 + changes"
    assert shown["Machine"] == "Some CPU, 2 cores"
    assert shown["Data"] == "c0ffee0011"
    assert shown["Steps to target"] == "300"
    assert shown["Command"].endswith("--nowcaster results/fake/metatrain/nino/best.safetensors")


def test_its_commands_are_commands(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400], "nino": [200]})
    program, *words = origins_table(runs).data.command[0].split()
    assert program == "nino"
    answer = CliRunner().invoke(app, words)
    assert "No such command" not in answer.output and "No such option" not in answer.output
    assert words[1] in str(answer.exception) + answer.output  # it went on to look for the spec file
