"""Fitting a learned optimizer to real, small trainings, and running it as a method."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nino.ensemble import Ensemble
from nino.evaluate.job import Job
from nino.evaluate.run import evaluate_run, evaluate_runs
from nino.l2o import L2O, L2ONet, fit_l2o, load_l2o, save_l2o
from nino.l2o.fit import _Fit, start
from nino.leases import InUseError, lease
from nino.specs import (
    DataSpec,
    EvaluationSpec,
    L2OSpec,
    MethodSpec,
    ModelSpec,
    RecipeSpec,
    ScheduleSpec,
    TargetSpec,
    TaskSpec,
)
from nino.tasks import Task, load_task
from nino.training import Training

TASK = TaskSpec(
    "digits-4",
    DataSpec("digits"),
    ModelSpec("convnet", {"channels": [4, 4]}),
    RecipeSpec("sgd", 1e-2, 40, 32),
    TargetSpec("accuracy", 30.0),
    EvaluationSpec(test_every=10, validation_every=10),
)
SPEC = L2OSpec(
    iterations=9,
    hidden=8,
    unroll=4,
    trainings=2,
    max_steps=12,
    validation_steps=5,
    validate_every=3,
    checkpoint_every=3,
)
METHOD = MethodSpec("l2o", "l2o", path="best.safetensors")


@pytest.fixture(scope="module")
def digits() -> Task:
    return load_task(TASK)


@pytest.fixture(autouse=True)
def _no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit may come between two fits whose bytes are compared."""
    monkeypatch.setattr("nino.l2o.fit.git_commit", lambda: None)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def results(out: Path) -> tuple[object, ...]:
    return *((out / f"{name}.safetensors").read_bytes() for name in ("best", "last")), rows(out / "log.csv")


@pytest.fixture(scope="module")
def fitted(digits: Task, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, L2OSpec]:
    """Long enough to learn something."""
    out = tmp_path_factory.mktemp("fitted")
    spec = replace(
        SPEC, iterations=120, hidden=16, unroll=6, trainings=3, max_steps=40, validation_steps=40, validate_every=20,
        checkpoint_every=30,
    )  # fmt: skip
    fit_l2o(spec, digits, out, progress=False)
    return out, spec


def test_what_a_fit_leaves_and_that_it_has_learned(digits: Task, fitted: tuple[Path, L2OSpec]) -> None:
    out, spec = fitted
    assert sorted(p.name for p in out.iterdir()) == ["best.safetensors", "last.safetensors", "log.csv"]
    log = rows(out / "log.csv")
    assert [int(row["iteration"]) for row in log] == list(range(121))
    validated = {int(row["iteration"]): float(row["validation_loss"]) for row in log if row["validation_loss"]}
    assert sorted(validated) == list(range(0, 121, 20))
    assert min(validated.values()) < 0.9 * validated[0]
    assert {row["failures"] for row in log} == {"0"}
    # on a seed that it has not seen: better than the recipe's SGD with momentum in as many steps
    ours, sgd = start(digits, 5, load_l2o(out / "best.safetensors")), Training(digits, 5)
    means = [torch.stack([t.step() for _ in range(40)]).mean().item() for t in (ours, sgd)]
    assert means[0] < means[1]


@pytest.mark.parametrize("iteration", [0, 3, 8])
def test_resuming_equals_not_stopping(
    digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, iteration: int
) -> None:
    before = torch.random.get_rng_state()
    whole = fit_l2o(SPEC, digits, tmp_path / "whole", progress=False)
    assert torch.equal(before, torch.random.get_rng_state())
    unroll = _Fit._unroll

    def interrupted(self: _Fit, i: int) -> tuple[float, float]:
        if i == iteration:
            raise InterruptedError
        return unroll(self, i)

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(_Fit, "_unroll", interrupted)
        fit_l2o(SPEC, digits, tmp_path / "parts", progress=False)
    assert not (tmp_path / "parts" / "best.safetensors").exists()
    resumed = fit_l2o(SPEC, digits, tmp_path / "parts", progress=False)
    assert vars(resumed) == vars(whole)
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


def test_a_state_of_another_fit_is_refused(digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: _Fit, i: int) -> tuple[float, float]:
        if i == 4:
            raise InterruptedError
        return 0.0, 0.0

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(_Fit, "_unroll", interrupted)
        fit_l2o(SPEC, digits, tmp_path, progress=False)
    with pytest.raises(ValueError, match="recipe.unroll was 4, is 5; delete"):
        fit_l2o(replace(SPEC, unroll=5), digits, tmp_path, progress=False)


def test_a_training_that_breaks_is_left_out_and_begun_anew(
    digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Training.step
    lives: set[int] = set()

    def breaks(self: Training) -> torch.Tensor | None:
        loss = step(self)
        lives.add(self.seed)
        return loss * torch.nan if self.steps == 2 and len(lives) == 2 else loss  # once, in the second training

    monkeypatch.setattr(Training, "step", breaks)
    outcome = fit_l2o(SPEC, digits, tmp_path, progress=False)
    assert outcome.failures >= 1 and outcome.iterations == 9
    assert all(p.isfinite().all() for p in load_l2o(tmp_path / "last.safetensors").parameters())


def test_two_fits_on_one_output(digits: Task, tmp_path: Path) -> None:
    with lease(tmp_path / "fit"), pytest.raises(InUseError, match="fit is being written by process"):
        fit_l2o(L2OSpec(iterations=2), digits, tmp_path / "fit", progress=False)
    assert not list(tmp_path.iterdir())


def test_it_gives_up(digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Training.step
    monkeypatch.setattr(Training, "step", lambda self: step(self) * torch.nan)
    monkeypatch.setattr("nino.l2o.fit.MAX_CONSECUTIVE_FAILURES", 3)
    with pytest.raises(FloatingPointError, match=r"3 unrolls in a row, up to 2, .*lower `lr` \(=0.003\)"):
        fit_l2o(SPEC, digits, tmp_path, progress=False)


def test_as_a_method_of_the_table(digits: Task, fitted: tuple[Path, L2OSpec], tmp_path: Path) -> None:
    schedule = ScheduleSpec(period=20)
    weights = fitted[0] / "best.safetensors"
    result = evaluate_run(digits, METHOD, 1000, schedule, tmp_path / "a", weights)
    assert (result["status"], result["method"], result["parameters"]) == ("done", "l2o", digits.num_parameters())
    assert rows(tmp_path / "a" / "nowcasts.csv") == []
    assert json.loads((tmp_path / "a" / "run.json").read_text())["provenance"]["inputs"]["nowcaster"]["sha256"]
    # several seeds are run one at a time, each the same run as alone
    jobs = [Job(digits, METHOD, seed, schedule, tmp_path / str(seed), weights) for seed in (1000, 2000)]
    several = evaluate_runs(jobs, members=2)
    assert [run["members_at_once"] for run in several] == [1, 1]
    assert several[0]["final"] == result["final"]
    with pytest.raises(ValueError, match="pass `nowcaster_path`"):
        evaluate_run(digits, replace(METHOD, path=None), 1000, schedule, tmp_path / "b")


def test_a_killed_run_goes_on(
    digits: Task, fitted: tuple[Path, L2OSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule, weights = ScheduleSpec(period=20), fitted[0] / "best.safetensors"
    whole = evaluate_run(digits, METHOD, 1000, schedule, tmp_path / "whole", weights)
    step = Training.step

    def killed(self: Training) -> torch.Tensor | None:
        if self.steps == 17:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Training, "step", killed)
        evaluate_run(digits, METHOD, 1000, schedule, tmp_path / "parts", weights, checkpoint_seconds=0)
    resumed = evaluate_run(digits, METHOD, 1000, schedule, tmp_path / "parts", weights)
    assert resumed["final"] == whole["final"] and resumed["best"] == whole["best"]


def test_an_ensemble_takes_no_learned_optimizer(digits: Task, tmp_path: Path) -> None:
    save_l2o(L2ONet(4), tmp_path / "net.safetensors")
    members = [start(digits, seed, load_l2o(tmp_path / "net.safetensors")) for seed in (1, 2)]
    assert isinstance(members[0].optimizer, L2O)
    with pytest.raises(ValueError, match="seed 1 is trained by L2O, not by the recipe's optimizer"):
        Ensemble(members)
