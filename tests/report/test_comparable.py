from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nino.release.manifest import write_manifest
from nino.report.build import write_tables
from nino.report.comparable import MixedRunsError
from nino.report.figures import write_figures
from nino.report.runs import Key, read_runs
from nino.report.study_results import write_study
from nino.specs import ReportSpec

ADAM = Key("digits-8", "base", 1000)


def record(results: Path, spec: ReportSpec, key: Key, **changes: Any) -> dict[str, Any]:
    """Write down what a run was made from, as the evaluation does."""
    path = key.folder(results) / "run.json"
    method = next(method for method in spec.methods if method.name == key.method)
    inputs = {"task": spec.task(key.task), "method": method, "schedule": spec.schedule}
    plain = {name: each.to_dict() for name, each in inputs.items()} | {"seed": key.seed, "data": "a0"} | changes
    path.write_text(json.dumps(json.loads(path.read_text()) | {"provenance": {"inputs": plain}}))
    return plain


def changed(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(inputs: dict[str, Any]) -> None:
        for name in path[:-1]:
            inputs = inputs[name]
        inputs[path[-1]] = value

    return change


def test_runs_of_the_reports_own_making_are_read(results: Path, spec: ReportSpec) -> None:
    before = read_runs(results, spec).frame
    record(results, spec, ADAM)
    moved = record(results, spec, ADAM)["task"]
    moved["data"]["path"] = "/somewhere/else"
    record(results, spec, ADAM, task=moved)
    assert read_runs(results, spec).frame.equals(before)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed("task", "recipe", "lr", value=0.06), r"task\.recipe\.lr is 0\.06, the report's is 0\.003"),
        (changed("task", "recipe", "batch_size", value=8), r"task\.recipe\.batch_size is 8, the report's is 64"),
        (changed("task", "target", "value", value=95.0), r"task\.target\.value is 95\.0, the report's is 85\.0"),
        (changed("task", "data", "name", value="pydoc"), r"task\.data\.name is 'pydoc', the report's is 'digits'"),
        (changed("task", "model", "options", "channels", value=[1]), r"task\.model\.options\.channels is \[1\]"),
        (
            changed("task", "evaluation", "test_every", value=1),
            r"task\.evaluation\.test_every is 1, the report's is 10",
        ),
        (changed("schedule", "period", value=50), r"schedule\.period is 50, the report's is 100"),
        (
            changed("method", "options", "accept", value="loss"),
            r"method\.options\.accept is 'loss', the report's is None",
        ),
        (changed("seed", value=7), r"seed is 7, the folder's is 1000"),
        (changed("data", value="0" * 64), r"data 0000000000\.\.\., data/digits-8\.json has a0\.\.\."),
    ],
)
def test_a_run_of_another_making_is_refused_by_name(
    results: Path, spec: ReportSpec, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    inputs = record(results, spec, ADAM)
    change(inputs)
    record(results, spec, ADAM, **inputs)
    with pytest.raises(MixedRunsError, match=rf"evaluate/digits-8/base/seed=1000/run\.json: {says}.*evaluate it again"):
        write_tables(results, spec)
    assert not (results / "tables").exists()


def test_every_fault_has_a_line(results: Path, spec: ReportSpec) -> None:
    inputs = record(results, spec, ADAM)
    inputs["task"]["recipe"] |= {"lr": 0.06, "batch_size": 8}
    record(results, spec, ADAM, **inputs)
    record(results, spec, Key("digits-8", "nino", 2000), data="ff")
    with pytest.raises(MixedRunsError) as error:
        read_runs(results, spec)
    assert len(str(error.value).splitlines()) == 3


def test_without_a_record_of_the_data_the_baselines_own_is_right(results: Path, spec: ReportSpec) -> None:
    (results / "data" / "digits-8.json").unlink()
    record(results, spec, ADAM)
    record(results, spec, Key("digits-8", "linear", 1000), data="b1")
    with pytest.raises(MixedRunsError, match=r"linear/seed=1000/run\.json: data b1\.\.\., evaluate/digits-8/base/"):
        read_runs(results, spec)


def test_a_method_has_the_same_weights_in_all_its_runs(results: Path, spec: ReportSpec) -> None:
    for seed, digest in ((1000, "aa"), (2000, "bb")):
        record(results, spec, Key("digits-8", "nino", seed), nowcaster={"path": f"{seed}.pt", "sha256": digest})
    with pytest.raises(
        MixedRunsError, match=r"nino/seed=2000/run\.json: weights bb\.\.\., .*seed=1000/run\.json has aa"
    ):
        read_runs(results, spec)


def test_code_outside_this_package_is_the_same_for_all_runs_of_a_row(results: Path, spec: ReportSpec) -> None:
    """An optimizer's file that was edited between two seeds, a package that was updated, a model that was."""
    optimizer, model = "method.recipe.optimizer", "task.model.name"
    for seed, version in ((1000, "pytorch_optimizer 4.1"), (2000, "pytorch_optimizer 4.2")):
        record(results, spec, Key("digits-8", "nino", seed), sources={optimizer: {"package": version}})
        record(results, spec, Key("digits-8", "linear", seed), sources={optimizer: {"package": version[:-1]}})
    for key, digest in ((ADAM, "aa"), (Key("digits-8", "wnn+", 1000), "bb")):
        record(results, spec, key, sources={model: {"sha256": digest}})
    with pytest.raises(MixedRunsError) as error:
        read_runs(results, spec)
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert "nino/seed=2000/run.json: method.recipe.optimizer.package is 'pytorch_optimizer 4.2', " in "".join(lines)
    assert "wnn+/seed=1000/run.json: task.model.name.sha256 is 'bb', evaluate/digits-8/base/" in "".join(lines)


def test_a_folder_without_runs_leaves_what_is_there(tmp_path: Path, spec: ReportSpec) -> None:
    table = tmp_path / "tables" / "table2.csv"
    table.parent.mkdir()
    table.write_text("kept")
    for write in (
        lambda: write_tables(tmp_path, spec),
        lambda: write_figures(tmp_path, spec),
        lambda: write_study("learning-rates", tmp_path, spec, tmp_path),
        lambda: write_manifest(tmp_path, spec),
    ):
        with pytest.raises(ValueError, match=r"holds none of the 42 runs of the report.*nothing was written"):
            write()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["table2.csv"]
    assert table.read_text() == "kept"
