import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nino.cli import app, main
from nino.config.experiment import Experiment
from nino.metatrain.loop import fresh_nowcaster
from nino.nowcasters import SampledEdges
from nino.plan import calibrate, estimate
from nino.plan.calibrate import Calibration
from nino.plan.estimate import plan
from nino.plan.fits import FitCalibration, synthetic_windows
from nino.plan.printing import as_dict, as_text
from nino.plan.rows import Plan
from nino.plan.stand_ins import stand_in
from nino.specs import DataSpec, EvaluationSpec, MetatrainSpec, MethodRecipe, MethodSpec, ScheduleSpec
from nino.tasks import MODELS, DataSizes, load_task

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
SCHEDULE = ScheduleSpec()


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> Calibration:
    """Calibrations that a test can reckon with."""
    times = Calibration(
        step=2.0,
        collect_step=1.5,
        validation=10.0,
        test=20.0,
        check=None,
        write=0.25,
        nowcasts={"linear": 3.0, "nino": 7.0},
        train_bytes=100,
        collect_bytes=400,
        nowcast_bytes={"linear": 5, "nino": 50},
    )
    monkeypatch.setattr(estimate, "calibrate", lambda *_: times)
    monkeypatch.setattr(estimate, "calibrate_fit", lambda *_: FitCalibration({"a": 1.0, "b": 3.0}, {"a": 0.5}, 70))
    monkeypatch.setattr(estimate, "resident_bytes", lambda: 1000)
    return times


def row(found: Plan, stage: str) -> estimate.Row:
    return next(each for each in found.rows if each.stage == stage)


def test_rows_are_counts_times_calibrations(run: Experiment, fixed: Calibration) -> None:
    found = plan(run, progress=False)
    # 3 networks of 40 steps and one for the last loss, 21 states, 11 measurements; 2 in the first of 2 shards
    network = 41 * 1.5 + 21 * 0.25 + 11 * 30
    collected = row(found, "trajectories")
    assert (collected.jobs, collected.seconds, collected.longest) == (4, 3 * network, 2 * network)
    assert collected.memory == 1400
    # 6 iterations of tasks drawn alike, validations before the first and after every third, of one network a task
    assert row(found, "metatrain").seconds == 6 * 2.0 + 3 * 0.5 and row(found, "metatrain").memory == 1070
    # base, linear and nino with two seeds each; 40 steps, 4 tests, 2 validations, 4 nowcasts
    base = 40 * 2 + 4 * 20 + 2 * 10
    evaluated = row(found, "evaluate")
    assert evaluated.jobs == 6 and evaluated.seconds == 2 * (3 * base + 4 * 3 + 4 * 7)
    assert evaluated.longest == base + 28 and evaluated.memory == 1150
    assert as_dict(found)["total"]["jobs"] == sum(each.jobs for each in found.rows) == 1 + 4 + 1 + 6 + 3


def test_seeds_of_one_job_are_one_job(run: Experiment, fixed: Calibration) -> None:
    alone = row(plan(run, progress=False), "evaluate")
    three = replace(run, seeds=(1000, 2000, 3000), seeds_per_job=2)
    found = row(plan(three, progress=False), "evaluate")
    assert found.jobs == 3 * 2 and found.seconds == 1.5 * (alone.seconds or 0)
    assert found.longest == 2 * (alone.longest or 0) and found.memory == alone.memory
    together = row(plan(replace(three, methods_per_job=5), progress=False), "evaluate")
    assert together.jobs == 2 * 2 and together.seconds == found.seconds  # nino waits for its fit apart
    assert found.longest < (together.longest or 0) < (together.seconds or 0)
    at_once = row(plan(replace(three, members_per_job=5), progress=False), "evaluate")
    assert at_once.memory == (alone.memory or 0) + 100 and at_once.jobs == found.jobs


def test_the_oracles_and_the_hardest_images_count(
    run: Experiment, fixed: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "calibrate", lambda *_: replace(fixed, check=4.0))
    methods = {"base": run.methods["base"], "oracle": MethodSpec("oracle", "oracle")}
    task = replace(run.tasks["digits-2"], evaluation=EvaluationSpec(1, 20, hardest_first=True))
    changed = replace(run, methods=methods, tasks=run.tasks | {"digits-2": task}, seeds=(1000,))
    base = 40 * 2 + 40 * 4 + 2 * (20 + 10)
    reach = [8, 5, 3, 1]  # of four nowcasts, states two steps apart
    assert row(plan(changed, progress=False), "evaluate").seconds == 2 * base + 2 * sum(reach) * 2


def test_a_row_with_a_recipe_of_its_own_is_timed_by_it_and_named(
    run: Experiment, fixed: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def calibration(*given: Any) -> Calibration:
        asked.update(given[-1])
        return replace(fixed, own_steps={"soap": 5.0})

    monkeypatch.setattr(estimate, "calibrate", calibration)
    own = MethodSpec("soap", "none", label="SOAP", recipe=MethodRecipe(optimizer="pytorch_optimizer:SOAP", lr=0.01))
    found = plan(replace(run, methods={"base": run.methods["base"], "soap": own}, seeds=(1000,)), progress=False)
    assert {name: (recipe.optimizer, recipe.steps) for name, recipe in asked.items()} == {
        "soap": (own.recipe.optimizer, 40)
    }
    assert row(found, "evaluate").seconds == 40 * (2 + 5) + 2 * (4 * 20 + 2 * 10)
    assert "In place of the task's recipe: SOAP: pytorch_optimizer:SOAP, lr 0.01." in found.notes


def test_steps_of_own_recipes_are_timed(digits: DataSizes, run: Experiment, tmp_path: Path) -> None:
    task = run.tasks["digits-2"]
    recipes = {"soap": replace(task.recipe, optimizer="pytorch_optimizer:SOAP")}
    timed = calibrate.calibrate(task, digits, CPU, {}, {}, tmp_path, None, recipes)
    assert timed.own_steps.keys() == {"soap"} and timed.own_steps["soap"] > 0


def test_what_is_not_known_is_named_and_left_open(run: Experiment, fixed: Calibration) -> None:
    task = replace(run.tasks["digits-2"], data=DataSpec("images", "npz", "nowhere.npz"))
    found = plan(replace(run, tasks=run.tasks | {"digits-2": task}), progress=False)
    assert all(row(found, stage).seconds is None for stage in ("trajectories", "metatrain", "evaluate"))
    text = as_text(found)
    assert "digits-2: not estimated; task 'digits-2': data 'images': no file nowhere.npz" in text
    assert "digits-2: data that is not there yet (no file nowhere.npz)" in text
    assert row(found, "evaluate").jobs == 6


def test_methods_without_their_weights_are_timed_as_what_they_are() -> None:
    for name, options in (("nino_no_posw", {"hidden": 128}), ("nino_mlp_h32", {"hidden": 32})):
        nowcaster, note = stand_in(MethodSpec("x", "checkpoint", path=name), SCHEDULE)
        assert note is None and nowcaster.config["hidden"] == options["hidden"]  # type: ignore[union-attr]
    some, _ = stand_in(MethodSpec("x", "checkpoint", path="nino_no_posw", options={"edges": 0.1}), SCHEDULE)
    assert isinstance(some, SampledEdges)
    nowcaster, note = stand_in(MethodSpec("x", "l2o", source="y"), SCHEDULE)
    assert nowcaster is None and "its steps are timed as the base optimizer's" in str(note)
    assert stand_in(MethodSpec("x", "none"), SCHEDULE) == (None, None)
    assert stand_in(MethodSpec("x", "linear"), SCHEDULE)[0] is not None
    assert stand_in(MethodSpec("x", "checkpoint", path="gone.safetensors"), SCHEDULE)[1] == (
        "no file gone.safetensors; timed as a NiNo of hidden size 128"
    )


def test_a_large_batch_is_timed_in_part(
    words: DataSizes, tmp_path: Path, run: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(
        run.tasks["digits-2"],
        data=DataSpec("pydoc", options={"block": 16}),
        model=replace(run.tasks["digits-2"].model, name="gpt2", options={"layers": 1, "width": 64, "heads": 2}),
        target=replace(run.tasks["digits-2"].target, metric="perplexity"),
    )
    whole = calibrate.calibrate(task, words, CPU, {}, {}, tmp_path)
    monkeypatch.setattr(calibrate, "CPU_ELEMENTS", 16 * 16 * 256)
    part = calibrate.calibrate(task, words, CPU, {}, {}, tmp_path)
    assert whole.scaled == () and part.scaled == ("16 of 64 examples a step",)
    assert whole.step / 4 < part.step < 4 * whole.step
    assert not list(tmp_path.iterdir())  # nothing is left behind
    parts = replace(task, recipe=replace(task.recipe, accumulate=16))  # of four examples
    assert calibrate.calibrate(parts, words, CPU, {}, {}, tmp_path).scaled == ("4 of 64 examples a step",)
    assert whole.train_bytes > 4 * 4 * load_task(task).num_parameters()


def test_synthetic_windows_are_a_batch(words: DataSizes) -> None:
    from nino.graphs import neural_graph

    graph = neural_graph(MODELS["gpt2"](words.synthetic(1, 1, 1), {"layers": 1, "width": 8, "heads": 2}))
    spec = MetatrainSpec("nino", words=10, windows_per_trajectory=2, max_horizon=3, model={"word_positions": True})
    windows = synthetic_windows("t", graph, spec)
    assert windows.graph.num_parameters == graph.num_parameters - (256 - 10) * 8
    assert windows.states.shape == (2, windows.graph.num_parameters, 5)
    assert windows.targets.shape == (2, windows.graph.num_parameters, 3)
    assert fresh_nowcaster(spec, [256]).word_positions == 256


def nino(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["nino", *arguments])
    monkeypatch.setattr(app.logging, "basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command_prints_a_plan(
    run: Experiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config.yaml", "tests/workflow/tiny.yaml"):
        shutil.copy(ROOT / name, ".")
    assert nino(monkeypatch, "plan", "tiny.yaml", "--device", "cpu", "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [each["stage"] for each in found["rows"]] == ["data", "trajectories", "metatrain", "evaluate", "report"]
    assert found["total"]["seconds"] == sum(each["seconds"] or 0 for each in found["rows"]) > 0
    assert set(found["calibrations"]["digits-2"]["nowcasts"]) == {"linear", "nino"}
    assert all(each["memory"] > 10**8 for each in found["rows"][1:4])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=200_000))
    assert nino(monkeypatch, "plan", "tiny.yaml", "--device", "cpu") == 1
    said = capsys.readouterr()
    assert "core-hours" in said.out and "digits-2" in said.out
    assert f"{Path.cwd()}" in said.err and "200,000 are free" in said.err and f"Errno {errno.ENOSPC}" in said.err


def test_the_command_looks_for_data_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    folders = []

    def stop_there(run: Experiment, device: str, **_: object) -> None:
        folders.append(run.data_dir)
        raise OSError("far enough")

    monkeypatch.setattr("nino.plan.estimate.plan", stop_there)
    assert nino(monkeypatch, "plan", "--data-dir", "images") == 1 and folders == [Path("images")]
