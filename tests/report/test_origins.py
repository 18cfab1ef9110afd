from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nino.tasks
from nino.cli.app import app
from nino.config.load import load
from nino.config.resolve import resolve
from nino.config.units import write_units
from nino.report.origins import made_otherwise, origins_table
from nino.report.runs import Key, Runs, read_runs
from nino.report.steps_to_target import table2
from nino.specs import TaskSpec

from .conftest import hit_runs

ROOT = Path(__file__).resolve().parents[2]
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
    assert "--nowcaster results/fake/metatrain/nino/best.safetensors" in shown["Command"]


@pytest.mark.parametrize(
    ("config", "task", "folder"),
    [((), "fm-16", True), (("workflow/configs/cpu.yaml",), "c10-16", True), (("tests/workflow/tiny.yaml",), "", False)],
)
def test_its_commands_work_in_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: tuple[str, ...], task: str, folder: bool
) -> None:
    """They go as far as reading the data of their task."""
    monkeypatch.chdir(ROOT)
    overlays = [Path(file) for file in config]
    spec = resolve(load(overlays), overlays).report
    table = origins_table(read_runs(tmp_path, spec)).data
    row = table[(table.task == (task or spec.tasks[0].id)) & (table.method == "base")].iloc[0]
    assert ("--data-dir FOLDER" in row.command) == folder and "results/" not in row.command
    assert read(row.command, monkeypatch) == (row.task, Path("FOLDER") if folder else None)


def test_without_config_files_its_commands_read_spec_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load([ROOT / "tests" / "workflow" / "tiny.yaml"], ROOT / "config.yaml")
    run = resolve(config | {"run": "other"}, [ROOT / "tests" / "workflow" / "tiny.yaml"])
    write_units(run)
    row = origins_table(read_runs(Path("results", "other"), run.report)).data.iloc[0]
    assert "--out results/other/evaluate/" in row.command
    assert read(row.command, monkeypatch) == (row.task, None)


class ReadingError(Exception):
    """Raised in place of reading data."""


def read(command: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path | None]:
    """Run a command until it reads data; which task's, and where."""
    program, *words = shlex.split(command)
    asked: list[tuple[str, Path | None]] = []

    def load_task(spec: TaskSpec, data_dir: Path | None = None, **_: object) -> None:
        asked.append((spec.id, data_dir))
        raise ReadingError

    monkeypatch.setattr(nino.tasks, "load_task", load_task)
    answer = CliRunner().invoke(app, words)
    assert program == "nino" and isinstance(answer.exception, ReadingError), answer.output
    return asked[0]


def test_runs_that_were_not_made_alike_are_said_to_be(runs: Runs) -> None:
    """Of other commits, another build of torch, other kernels: a pair then differs in more than its method."""

    def made(commit: str, torch: str, aten: str) -> dict[str, object]:
        versions = {"torch": torch, "pandas": commit, "nino": commit}
        return {"git": {"commit": commit * 40}, "versions": versions, "hardware": {"aten": aten, "gpus": []}}

    def of(*ways: dict[str, object]) -> tuple[str, ...]:
        info = {key: {"provenance": ways[i % len(ways)]} for i, key in enumerate(runs.info)}
        return made_otherwise(replace(runs, info=info))

    assert of(made("a", "2.13.0+one", "AVX2")) == of(made("a", "2.13.0+one", "AVX2"), {}) == ()
    (said,) = of(made("a", "2.13.0+one", "AVX2"), made("b", "2.13.0+other", "AVX512"))
    assert said == (
        "Not all runs were made alike: 2 commits; torch 2.13.0+one and 2.13.0+other; aten AVX2 and AVX512. The table "
        "origins has the commit of each."
    )
    table = table2(replace(runs, info={key: {"provenance": made(str(key.seed)[0], "2", "")} for key in runs.info}))
    assert table.notes[-1].startswith("Not all runs were made alike: 3 commits. The table")
