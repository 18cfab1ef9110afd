import json
from dataclasses import replace

import pytest

from nino.evaluate import evaluate_run
from nino.evaluate.loop import EvaluatedTraining
from nino.specs import MethodSpec

NONE = MethodSpec("none", "none")


def started(self: EvaluatedTraining) -> None:
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
