from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from nino.config.code import STAGES, data_checksum, modules, stage_version, write_versions
from nino.config.layout import Layout

PACKAGE = Path(__file__).resolve().parents[2] / "nino"


def parts(stage: str) -> set[str]:
    return {path.relative_to(PACKAGE).parts[0] for path in modules(STAGES[stage])}


def test_a_stage_is_made_of_what_it_imports() -> None:
    assert {"tasks", "trajectories", "training.py", "seeding.py", "specs"} <= parts("collect")
    assert {"nowcasters", "graphs", "metatrain", "trajectories"} <= parts("metatrain")
    for stage in STAGES:
        assert not {"report", "evaluate", "optim", "cli"} & parts(stage), stage
    assert "metatrain" not in parts("collect")


@pytest.mark.parametrize("stage", STAGES)
def test_no_import_is_missed(stage: str) -> None:
    files = set(modules(STAGES[stage]))
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in named:
                if name.startswith("nino."):
                    path = PACKAGE.joinpath(*name.split(".")[1:])
                    assert path / "__init__.py" in files or path.with_suffix(".py") in files, f"{file}: {name}"


def test_only_a_change_of_its_own_code_changes_a_stage(tmp_path: Path) -> None:
    package = tmp_path / "nino"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    before = {stage: stage_version(stage, package) for stage in STAGES}
    assert before == {stage: stage_version(stage) for stage in STAGES}
    for file, changed in (
        ("metatrain/loop.py", {"metatrain"}),
        ("trajectories/collect.py", {"collect", "metatrain"}),
        ("seeding.py", set(STAGES)),
        ("report/tables.py", set()),
    ):
        path = package / file
        kept = path.read_text()
        path.write_text(kept + "\n# another line\n")
        assert {stage for stage in STAGES if stage_version(stage, package) != before[stage]} == changed, file
        path.write_text(kept)


def test_the_checksum_of_data_is_read_from_their_record(tmp_path: Path) -> None:
    record = tmp_path / "digits.json"
    with pytest.raises(FileNotFoundError):
        data_checksum(record)
    record.write_text('{"data": {"checksum": "ab12"}}')
    assert data_checksum(record) == "ab12"


def test_versions_are_written_once(tmp_path: Path) -> None:
    layout = Layout("x")
    write_versions(layout, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.txt")}
    assert {path.stem for path in times} == set(STAGES)
    write_versions(layout, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in times} == times
