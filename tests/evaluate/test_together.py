"""Seeds evaluated at once against the same seeds evaluated one by one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nino.evaluate.checkpoint import compact
from nino.evaluate.job import Job
from nino.evaluate.loop import EvaluatedTraining
from nino.evaluate.run import evaluate_run, evaluate_runs
from nino.evaluate.run_folder import read_table
from nino.specs import MethodSpec
from nino.tasks import Task

SEEDS = [1000, 2000, 3000]
STEPS, PERIOD = 40, 20  # of the fixtures


def method(nowcaster: str, **fields) -> MethodSpec:
    return MethodSpec(nowcaster, nowcaster, **fields)


def folders(parent: Path) -> list[Path]:
    return [parent / str(seed) for seed in SEEDS]


def jobs(task, row, schedule, parent: Path) -> list[Job]:
    return [Job(task, row, seed, schedule, folder) for seed, folder in zip(SEEDS, folders(parent), strict=True)]


def at_once(task, row, schedule, parent: Path, **options) -> list[dict]:
    return evaluate_runs(jobs(task, row, schedule, parent), members=3, **options)


def assert_close(ours: Path, theirs: Path, accuracy: float = 1.5) -> None:
    """The same steps, and the same numbers but for rounding, which may change the class of an image or two."""
    one, other = (read_table(folder / "log.csv") for folder in (ours, theirs))
    assert one["step"].tolist() == other["step"].tolist()
    np.testing.assert_allclose(one["train_loss"], other["train_loss"], rtol=2e-3)
    np.testing.assert_allclose(one["test"], other["test"], atol=accuracy)
    assert np.isnan(one["validation"]).tolist() == np.isnan(other["validation"]).tolist()
    one, other = (read_table(folder / "nowcasts.csv") for folder in (ours, theirs))
    assert one["step"].tolist() == other["step"].tolist() and one["k"].tolist() == other["k"].tolist()
    for name in ("norm", "loss_before", "loss_after"):
        np.testing.assert_allclose(one[name], other[name], rtol=2e-2)


@pytest.mark.parametrize("nowcaster", ["none", "linear", "oracle"])
def test_seeds_at_once_are_the_seeds_one_by_one(digits, schedule, tmp_path, nowcaster) -> None:
    results = at_once(digits, method(nowcaster), schedule, tmp_path / "together")
    for seed, result, folder in zip(SEEDS, results, folders(tmp_path / "together"), strict=True):
        alone = evaluate_run(digits, method(nowcaster), seed, schedule, tmp_path / "alone")
        assert_close(folder, tmp_path / "alone")
        assert json.loads((folder / "run.json").read_text()) == result
        assert result.keys() == alone.keys()
        assert (result["seed"], result["status"], result["members_at_once"]) == (seed, "done", 3)
        assert alone["members_at_once"] == 1
        assert result["train_seconds"] > 0 and (nowcaster != "linear" or result["nowcast_seconds"] > 0)
        assert not (folder / "unfinished.pt").exists()
        (tmp_path / "alone" / "run.json").unlink()


def test_a_language_task(pydoc, schedule, tmp_path) -> None:
    at_once(pydoc, method("linear"), schedule, tmp_path / "together")
    for seed, folder in zip(SEEDS, folders(tmp_path / "together"), strict=True):
        evaluate_run(pydoc, method("linear"), seed, schedule, tmp_path / str(seed))
        assert_close(folder, tmp_path / str(seed), accuracy=0.5)


@pytest.mark.parametrize("nowcaster", ["none", "linear"])
def test_killed_seeds_go_on_and_runs_behind_catch_up(
    digits, schedule, tmp_path, monkeypatch: pytest.MonkeyPatch, nowcaster
) -> None:
    at_once(digits, method(nowcaster), schedule, tmp_path / "whole")
    end = EvaluatedTraining.end

    def killed(self: EvaluatedTraining) -> None:
        if self.training.steps == PERIOD + 4 and self.training.seed == SEEDS[1]:
            raise KeyboardInterrupt
        end(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(EvaluatedTraining, "end", killed)
        at_once(digits, method(nowcaster), schedule, tmp_path / "parts", checkpoint_seconds=0)
    (tmp_path / "parts" / str(SEEDS[2]) / "unfinished.pt").unlink()  # this one starts over
    at_once(digits, method(nowcaster), schedule, tmp_path / "parts")
    for ours, theirs in zip(folders(tmp_path / "parts"), folders(tmp_path / "whole"), strict=True):
        assert_close(ours, theirs)


def test_a_finished_seed_is_left_as_it_is(digits, schedule, tmp_path) -> None:
    first = evaluate_run(digits, method("none"), SEEDS[0], schedule, tmp_path / str(SEEDS[0]))
    results = at_once(digits, method("none"), schedule, tmp_path)
    assert results[0] == first
    assert [result["members_at_once"] for result in results] == [1, 2, 2]


@pytest.mark.parametrize("nowcaster", ["none", "linear"])
@pytest.mark.parametrize("broken_at", [7, PERIOD - 1])
def test_a_seed_that_diverges_leaves_the_others_alone(
    digits, schedule, tmp_path, monkeypatch: pytest.MonkeyPatch, nowcaster, broken_at
) -> None:
    end = EvaluatedTraining.end

    def breaks(self: EvaluatedTraining) -> None:
        end(self)
        if self.training.seed == SEEDS[1] and self.training.steps == broken_at:
            with torch.no_grad():
                self.training.parameters[0].fill_(torch.inf)

    monkeypatch.setattr(EvaluatedTraining, "end", breaks)
    results = at_once(digits, method(nowcaster), schedule, tmp_path / "together")
    assert [result["status"] for result in results] == ["done", "diverged", "done"]
    assert "step" in results[1]["reason"] or "no longer finite" in results[1]["reason"]
    monkeypatch.undo()
    for seed in (SEEDS[0], SEEDS[2]):
        evaluate_run(digits, method(nowcaster), seed, schedule, tmp_path / str(seed))
        assert_close(tmp_path / "together" / str(seed), tmp_path / str(seed))


def test_what_goes_one_at_a_time(digits, pydoc, schedule, tmp_path) -> None:
    for row in (method("random"), method("linear", options={"accept": "loss"})):
        assert {r["members_at_once"] for r in at_once(digits, row, schedule, tmp_path / row.name)} == {1}
    automatic = evaluate_runs(jobs(digits, method("none"), schedule, tmp_path / "auto"))
    assert {r["members_at_once"] for r in automatic} == {1}  # on a CPU


def test_out_of_memory_fails_all_of_a_group(digits, schedule, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Task, *arguments: object) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(Task, "loss", full)
        results = at_once(digits, method("none"), schedule, tmp_path)
    assert [result["status"] for result in results] == ["failed"] * 3
    assert {r["status"] for r in at_once(digits, method("none"), schedule, tmp_path)} == {"done"}


def test_a_checkpoint_holds_a_members_part_alone() -> None:
    whole = torch.arange(12.0).view(3, 4)
    state = compact({"a": [whole[1], {"b": whole, "c": 5}], "d": (whole[0, 1:],)})
    assert torch.equal(state["a"][0], whole[1]) and state["a"][0].untyped_storage().nbytes() == 16
    assert state["a"][1]["b"] is whole and state["a"][1]["c"] == 5
    assert torch.equal(state["d"][0], torch.tensor([1.0, 2.0, 3.0]))
