from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from nino.config.errors import ConfigError
from nino.config.layout import Layout
from nino.config.resolve import resolve
from nino.config.units import read_unit, units, write_units
from nino.specs import EvaluationUnit, MetatrainUnit, ReportSpec, TaskSpec, TrajectoryUnit


def test_units_are_read_back_as_they_were_written(config: dict[str, Any], tmp_path: Path) -> None:
    run = resolve(config)
    write_units(run, tmp_path)
    kinds = {TaskSpec, TrajectoryUnit, MetatrainUnit, EvaluationUnit, ReportSpec}
    for name, unit in units(run):
        again = read_unit(tmp_path / name, type(unit))
        assert again.to_dict() == json.loads(json.dumps(again.to_dict())) | unit.to_dict()
        kinds.discard(type(unit))
    assert not kinds


def test_spec_files_are_those_that_finished_jobs_read(tmp_path: Path) -> None:
    """To the byte: a job is done again when its spec file changes."""
    golden = json.loads((Path(__file__).parent / "golden_specs.json").read_text(encoding="utf-8"))
    write_units(resolve(golden["config"]), tmp_path)
    written = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.json")}
    assert written == {name: json.dumps(content, indent=2) + "\n" for name, content in golden["files"].items()}


def test_there_is_a_spec_for_every_job(config: dict[str, Any]) -> None:
    run, paths = resolve(config), Layout("small")
    wanted = {paths.task_spec("digits-8"), paths.task_spec("pydoc-2-16"), paths.trajectory_spec("digits-8")}
    wanted |= {paths.metatrain_spec("nino"), paths.report_spec}
    wanted |= {paths.evaluation_spec(task, method) for task in run.evaluated for method in run.methods}
    assert {name for name, _ in units(run)} == wanted


def test_unchanged_files_keep_their_time(config: dict[str, Any], tmp_path: Path) -> None:
    assert len(write_units(resolve(config), tmp_path)) == len(list(units(resolve(config)))) + 1
    for path in tmp_path.rglob("*.json"):
        os.utime(path, (1, 1))
    assert write_units(resolve(config), tmp_path) == []
    assert {path.stat().st_mtime for path in tmp_path.rglob("*.json")} == {1}


def test_only_what_changed_is_written(config: dict[str, Any], tmp_path: Path) -> None:
    paths = Layout("small")
    write_units(resolve(config), tmp_path)

    def changed() -> set[str]:
        return {path.relative_to(tmp_path).as_posix() for path in write_units(resolve(config), tmp_path)}

    config["evaluate"]["methods"]["linear"]["label"] = "Line"
    report = {paths.config, paths.report_spec}
    assert changed() == report | {paths.evaluation_spec(task, "linear") for task in ("digits-8", "pydoc-2-16")}
    config["evaluate"]["seeds"].append(3000)
    assert changed() == report
    config["metatrain"]["recipe"]["iterations"] = 11
    assert changed() == {paths.config, paths.metatrain_spec("nino")}
    config["trajectories"]["digits-8"]["models"] = 6
    assert changed() == {paths.config, paths.trajectory_spec("digits-8")}


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "not a resolved TaskSpec"), ('{"a": 1}', "not a resolved TaskSpec"), ("[]", "not a resolved")],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "spec.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_unit(path, TaskSpec)


def test_a_missing_spec_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.json: no such spec file"):
        read_unit(tmp_path / "gone.json", TaskSpec)
