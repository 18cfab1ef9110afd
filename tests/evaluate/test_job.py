import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from nino.config.experiment import Experiment
from nino.config.load import load
from nino.config.resolve import resolve
from nino.evaluate.loop import EvaluatedTraining
from nino.evaluate.run import evaluate_run
from nino.specs import MethodSpec

ROOT = Path(__file__).parents[2]
NONE = MethodSpec("none", "none")


def started(*_: object) -> None:
    raise KeyboardInterrupt


def test_another_label_is_no_other_run(digits, schedule, tmp_path, caplog) -> None:
    made = evaluate_run(digits, replace(NONE, label="Adam"), 1000, schedule, tmp_path)
    with caplog.at_level("INFO"):
        assert evaluate_run(digits, replace(NONE, label="Base optimizer"), 1000, schedule, tmp_path) == made
    assert "already done" in caplog.text
    earlier = json.loads((tmp_path / "run.json").read_text())
    earlier["provenance"]["inputs"]["method"]["label"] = "Adam"  # as runs recorded it
    (tmp_path / "run.json").write_text(json.dumps(earlier))
    assert evaluate_run(digits, NONE, 1000, schedule, tmp_path) == earlier


@pytest.mark.parametrize("parts", [1, 2])
def test_a_run_from_before_an_option_existed_is_one_with_its_default(variant, schedule, tmp_path, parts) -> None:
    task = variant(recipe={"accumulate": parts})
    result = evaluate_run(task, NONE, 1000, schedule, tmp_path)
    del result["provenance"]["inputs"]["task"]["recipe"]["accumulate"]
    (tmp_path / "run.json").write_text(json.dumps(result))
    again = evaluate_run(task, NONE, 1000, schedule, tmp_path)
    assert (again == result) == (parts == 1)


@pytest.mark.parametrize("damage", ["cut", "no log", "other seed", "failed"])
def test_a_result_that_is_not_this_jobs_is_made_anew(digits, schedule, tmp_path, monkeypatch, damage) -> None:
    evaluate_run(digits, NONE, 1000, schedule, tmp_path)
    path = tmp_path / "run.json"
    if damage == "cut":
        path.write_text(path.read_text()[:100])
    elif damage == "no log":
        (tmp_path / "log.csv").unlink()
    elif damage == "failed":
        path.write_text(path.read_text().replace('"done"', '"failed"'))
    monkeypatch.setattr(EvaluatedTraining, "advance", started)
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(digits, NONE, 2000 if damage == "other seed" else 1000, schedule, tmp_path)


@pytest.fixture(scope="module")
def run() -> Experiment:
    return resolve(load([ROOT / "workflow" / "configs" / "cpu.yaml"], ROOT / "config.yaml"))


@pytest.mark.parametrize("method", ["base", "linear", "nino", "wnn", "wnn+"])
@pytest.mark.parametrize("task", ["fm-16", "c10-16"])
def test_a_run_that_an_earlier_version_finished_is_not_made_again(run, tmp_path, monkeypatch, task, method) -> None:
    """Committed runs, for the jobs that today's config asks for."""
    folder = ROOT / "results" / "cpu-v1" / "evaluate" / task / method / "seed=1000"
    shutil.copytree(folder, tmp_path / "run")
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = json.loads(kept["run.json"])
    loaded = SimpleNamespace(spec=run.tasks[task], data_checksum=result["provenance"]["inputs"]["data"])
    monkeypatch.setattr("nino.evaluate.run.method_nowcaster", started)
    assert evaluate_run(loaded, run.methods[method], 1000, run.schedule, tmp_path / "run") == result
    assert {name: (tmp_path / "run" / name).read_bytes() for name in kept} == kept
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(loaded, run.methods[method], 1000, replace(run.schedule, power=3), tmp_path / "run")
