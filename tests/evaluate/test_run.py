import csv
import json
from pathlib import Path

import pytest
import torch

from nino.evaluate.loop import EvaluatedTraining
from nino.evaluate.run import evaluate_run
from nino.evaluate.run_folder import COLUMNS, LATER, CorruptRunError, read_run, read_table
from nino.evaluate.target import steps_to_target
from nino.files import sha256
from nino.leases import InUseError, lease
from nino.nowcasters import build_nowcaster, save_nowcaster
from nino.specs import MethodSpec, TargetSpec

STEPS, PERIOD = 40, 20  # of the fixtures


def method(nowcaster: str, **fields) -> MethodSpec:
    return MethodSpec(nowcaster, nowcaster, **fields)


def without_seconds(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    keep = [i for i, name in enumerate(header) if not name.endswith("seconds")]
    return [[row[i] for i in keep] for row in [header, *rows]]


def assert_same_numbers(one: Path, other: Path) -> None:
    for name in ("log.csv", "nowcasts.csv"):
        assert without_seconds(one / name) == without_seconds(other / name)
    ours, theirs = [json.loads((folder / "run.json").read_text()) for folder in (one, other)]
    assert ours.keys() == theirs.keys()
    differ = {key for key in ours if ours[key] != theirs[key]}
    assert differ <= {key for key in ours if "seconds" in key} | {
        "peak_memory_bytes",
        "share_of_others",
        "provenance",
        "files",
    }
    rows = [{name: file["rows"] for name, file in result["files"].items()} for result in (ours, theirs)]
    assert rows[0] == rows[1]


def killed_at(monkeypatch, step: int) -> None:
    plain = EvaluatedTraining.advance

    def advance(self):
        if self.training.steps == step:
            raise KeyboardInterrupt
        return plain(self)

    monkeypatch.setattr(EvaluatedTraining, "advance", advance)


def test_the_files_and_what_they_say(digits, schedule, tmp_path) -> None:
    result = evaluate_run(digits, method("linear", label="Line"), 1000, schedule, tmp_path)
    files = ["around.csv", "jumps.csv", "log.csv", "nowcasts.csv", "run.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert json.loads((tmp_path / "run.json").read_text()) == result
    log = read_table(tmp_path / "log.csv")
    nowcasts = read_table(tmp_path / "nowcasts.csv")
    assert log["step"].tolist() == list(range(1, STEPS + 1))
    assert nowcasts["step"].tolist() == [PERIOD, STEPS] and nowcasts["k"].tolist() == [3, 1]
    for name in ("train_seconds", "evaluation_seconds", "nowcast_seconds"):
        assert (log[name][1:] >= log[name][:-1]).all()
        assert result[name] >= log[name][-1] - 1e-6
    assert log["nowcast_seconds"][PERIOD - 2] == 0 < log["nowcast_seconds"][PERIOD - 1]
    assert nowcasts["seconds"].sum() <= result["nowcast_seconds"]

    expected = {"format": 2, "task": "digits-4", "method": "linear", "label": "Line", "seed": 1000, "status": "done"}
    expected |= {"reason": None, "metric": "accuracy", "higher_is_better": True, "target": 20.0, "steps": STEPS}
    assert {name: result[name] for name in expected} == expected
    hit = steps_to_target(log, TargetSpec("accuracy", 20.0))
    assert result["step_at_target"] == hit and 1 < hit < STEPS
    row = log["step"].tolist().index(hit)
    assert result["seconds_at_target"] == pytest.approx(
        log["train_seconds"][row] + log["nowcast_seconds"][row], abs=1e-5
    )
    assert result["best"] == log["test"].max() and result["final"] == log["test"][-1]
    assert result["parameters"] == sum(p.numel() for p in digits.build_model(0).parameters())
    assert result["peak_memory_bytes"] > 2**20
    inputs = result["provenance"]["inputs"]
    assert inputs["data"] == digits.data_checksum and inputs["seed"] == 1000
    assert inputs["task"]["recipe"]["steps"] == STEPS and inputs["schedule"]["period"] == PERIOD


@pytest.mark.parametrize("nowcaster", ["none", "random"])
def test_twice_the_same_run_is_the_same_bytes(digits, schedule, tmp_path, nowcaster) -> None:
    for name in ("a", "b"):
        evaluate_run(digits, method(nowcaster), 1000, schedule, tmp_path / name)
    assert_same_numbers(tmp_path / "a", tmp_path / "b")


def test_another_seed_is_another_run(digits, schedule, tmp_path) -> None:
    for seed in (1000, 2000):
        evaluate_run(digits, method("none"), seed, schedule, tmp_path / str(seed))
    assert without_seconds(tmp_path / "1000/log.csv") != without_seconds(tmp_path / "2000/log.csv")


@pytest.mark.parametrize(
    ("nowcaster", "step"),
    [("none", 3), ("none", PERIOD + 9), ("linear", 3), ("linear", PERIOD), ("random", PERIOD + 9), ("oracle", PERIOD)],
)
def test_a_killed_run_ends_with_the_same_numbers(
    digits, schedule, tmp_path, monkeypatch, caplog, nowcaster, step
) -> None:
    evaluate_run(digits, method(nowcaster), 1000, schedule, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        killed_at(patch, step)
        evaluate_run(digits, method(nowcaster), 1000, schedule, tmp_path / "killed", checkpoint_seconds=0)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["unfinished.pt"]
    with caplog.at_level("INFO"):
        evaluate_run(digits, method(nowcaster), 1000, schedule, tmp_path / "killed")
    assert "going on after step" in caplog.text
    assert_same_numbers(tmp_path / "whole", tmp_path / "killed")
    assert not (tmp_path / "killed" / "unfinished.pt").exists()


def test_a_killed_hardest_first_run_ends_with_the_same_numbers(variant, schedule, tmp_path, monkeypatch) -> None:
    task = variant(evaluation={"hardest_first": True, "validation_every": 7}, target={"value": 25.0})
    evaluate_run(task, method("linear"), 1000, schedule, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        killed_at(patch, PERIOD + 4)
        evaluate_run(task, method("linear"), 1000, schedule, tmp_path / "killed", checkpoint_seconds=0)
    evaluate_run(task, method("linear"), 1000, schedule, tmp_path / "killed")
    assert_same_numbers(tmp_path / "whole", tmp_path / "killed")


def test_resume_false_starts_over(digits, schedule, tmp_path, monkeypatch, caplog) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        killed_at(patch, 9)
        evaluate_run(digits, method("none"), 1000, schedule, tmp_path, checkpoint_seconds=0)
    with caplog.at_level("INFO"):
        evaluate_run(digits, method("none"), 1000, schedule, tmp_path, resume=False)
    assert "going on" not in caplog.text


def test_a_checkpoint_of_another_job_or_a_damaged_one_is_not_used(
    digits, schedule, tmp_path, monkeypatch, caplog
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        killed_at(patch, 9)
        evaluate_run(digits, method("none"), 1000, schedule, tmp_path / "a", checkpoint_seconds=0)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "unfinished.pt").write_bytes(b"half a file")
    for name in ("a", "b"):
        evaluate_run(digits, method("none"), 2000, schedule, tmp_path / name)
    assert "is of another job" in caplog.text and "cannot be read" in caplog.text
    evaluate_run(digits, method("none"), 2000, schedule, tmp_path / "whole")
    assert_same_numbers(tmp_path / "a", tmp_path / "whole")
    assert_same_numbers(tmp_path / "b", tmp_path / "whole")


def test_a_finished_run_is_left_as_it_is(digits, schedule, tmp_path, monkeypatch) -> None:
    result = evaluate_run(digits, method("none"), 1000, schedule, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        killed_at(patch, 0)
        assert evaluate_run(digits, method("none"), 1000, schedule, tmp_path) == result
        assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
        with pytest.raises(KeyboardInterrupt):
            evaluate_run(digits, method("none"), 1000, schedule, tmp_path, resume=False)
        assert list(tmp_path.iterdir()) == []  # a job under way shows no result of an earlier one


def test_two_jobs_of_one_run(digits, schedule, tmp_path) -> None:
    out = tmp_path / "run"
    with lease(out), pytest.raises(InUseError, match="run is being written by process"):
        evaluate_run(digits, method("none"), 1000, schedule, out)
    assert not list(tmp_path.iterdir())
    evaluate_run(digits, method("none"), 1000, schedule, out)
    with lease(out):  # what is finished is read, not written
        assert evaluate_run(digits, method("none"), 1000, schedule, out)["status"] == "done"


def test_a_diverged_run_is_a_result(variant, schedule, tmp_path, caplog) -> None:
    task = variant(recipe={"lr": 1e30})
    result = evaluate_run(task, method("none"), 1000, schedule, tmp_path)
    assert result["status"] == "diverged" and "at step" in result["reason"]
    assert result["step_at_target"] is None and result["seconds_at_target"] is None
    rows = read_table(tmp_path / "log.csv")["step"]
    assert 1 <= len(rows) < STEPS and "diverged" in caplog.text
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "diverged"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("can't allocate memory: x")]
)
def test_out_of_memory_is_a_failed_run_that_can_be_tried_again(digits, schedule, tmp_path, monkeypatch, error) -> None:
    plain = EvaluatedTraining.advance

    def advance(self):
        if self.training.steps == 12:
            raise error
        return plain(self)

    with monkeypatch.context() as patch:
        patch.setattr(EvaluatedTraining, "advance", advance)
        result = evaluate_run(digits, method("none"), 1000, schedule, tmp_path, checkpoint_seconds=0)
    assert result["status"] == "failed" and "out of memory" in result["reason"]
    assert len(read_table(tmp_path / "log.csv")["step"]) == 12
    assert evaluate_run(digits, method("none"), 1000, schedule, tmp_path)["status"] == "done"


def test_out_of_memory_before_the_first_step(digits, schedule, tmp_path, monkeypatch) -> None:
    def build_model(self, seed):
        raise MemoryError

    monkeypatch.setattr(type(digits), "build_model", build_model)
    result = evaluate_run(digits, method("none"), 1000, schedule, tmp_path)
    assert (result["status"], result["final"], result["best"]) == ("failed", None, None)


def test_other_errors_are_errors(digits, schedule, tmp_path, monkeypatch) -> None:
    def advance(self):
        raise RuntimeError("a bug")

    monkeypatch.setattr(EvaluatedTraining, "advance", advance)
    with pytest.raises(RuntimeError, match="a bug"):
        evaluate_run(digits, method("none"), 1000, schedule, tmp_path)
    assert not (tmp_path / "run.json").exists()


def test_the_oracle_says_what_its_foresight_took(digits, schedule, tmp_path) -> None:
    result = evaluate_run(digits, method("oracle"), 1000, schedule, tmp_path)
    assert result["fork_steps"] == (3 + 1) * 4 and result["fork_seconds"] > 0
    assert result["nowcast_seconds"] == 0
    assert read_table(tmp_path / "nowcasts.csv")["seconds"].min() > 0


@pytest.mark.parametrize("kind", ["nino", "wnn+"])
@pytest.mark.parametrize("task", ["digits", "pydoc"])
def test_a_metatrained_nowcaster(request, schedule, tmp_path, kind, task) -> None:
    path = tmp_path / "best.safetensors"
    save_nowcaster(build_nowcaster(kind, hidden=8), path, {})
    row = method("metatrained", source=kind)
    result = evaluate_run(request.getfixturevalue(task), row, 1000, schedule, tmp_path / "out", path)
    assert result["status"] == "done"
    assert len(result["provenance"]["inputs"]["nowcaster"]["sha256"]) == 64
    nowcasts = read_table(tmp_path / "out" / "nowcasts.csv")
    assert nowcasts["finite"].tolist() == nowcasts["accepted"].tolist() == [1, 1]


def test_a_missing_file_of_weights_is_named(digits, schedule, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        evaluate_run(digits, method("checkpoint"), 1000, schedule, tmp_path, tmp_path / "absent.safetensors")


def test_a_finished_run_of_an_earlier_version_gets_the_records_it_lacks(digits, schedule, tmp_path) -> None:
    result = evaluate_run(digits, method("none"), 1000, schedule, tmp_path)
    earlier = {key: value for key, value in result.items() if key != "files"} | {"format": 1}
    (tmp_path / "run.json").write_text(json.dumps(earlier))
    kept = (tmp_path / "run.json").read_bytes()
    for name in LATER:
        assert len((tmp_path / name).read_text().splitlines()) == 1, "a run without nowcasts has them too"
        (tmp_path / name).unlink()
    evaluate_run(digits, method("none"), 1000, schedule, tmp_path)
    assert (tmp_path / "run.json").read_bytes() == kept and all((tmp_path / name).is_file() for name in LATER)


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_a_file_that_was_cut_is_refused_and_its_run_made_again(digits, schedule, tmp_path, name) -> None:
    """Before run.json held checksums, half a `nowcasts.csv` changed tables without a word."""
    result = evaluate_run(digits, method("linear"), 1000, schedule, tmp_path)
    assert result["files"][name]["sha256"] == sha256(tmp_path / name)
    whole = (tmp_path / name).read_text().splitlines(keepends=True)
    (tmp_path / name).write_text("".join(whole[: len(whole) // 2]))
    says = rf"{name}: changed .* {len(whole) // 2 - 1} rows, run.json says {len(whole) - 1}"
    with pytest.raises(CorruptRunError, match=says):
        read_run(tmp_path, digits.spec, "linear", 1000)
    evaluate_run(digits, method("linear"), 1000, schedule, tmp_path)
    assert read_run(tmp_path, digits.spec, "linear", 1000).result["best"] == result["best"]
