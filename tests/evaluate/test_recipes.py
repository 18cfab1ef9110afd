"""Runs with every kind of recipe: schedules, averages, optimizers of other packages, and rows with their own."""

from __future__ import annotations

import copy
from dataclasses import replace
from hashlib import sha256

import pytest
import torch

from nino.evaluate.job import Job
from nino.evaluate.loop import EvaluatedTraining
from nino.evaluate.methods import method_nowcaster, start_training
from nino.evaluate.run import evaluate_run, evaluate_runs
from nino.evaluate.run_folder import CorruptRunError, read_run, read_table
from nino.nowcasters.simple import LineFit
from nino.optim import NiNo
from nino.specs import AveragingSpec, LearningRateSpec, MethodRecipe, MethodSpec, RowRecipe
from nino.specs.recipe import AroundSpec
from nino.tasks import build_average
from nino.training import Training

STEPS, PERIOD = 40, 20  # of the fixtures
LOOKAHEAD = AroundSpec("pytorch_optimizer:Lookahead", {"k": 5, "alpha": 0.5})
RECIPES = {
    "linear": {"schedule": LearningRateSpec("linear", warmup=7)},
    "cosine": {"schedule": LearningRateSpec("cosine", final=0.1)},
    "ema": {"averaging": AveragingSpec("ema", decay=0.8)},
    "lawa": {"averaging": AveragingSpec("lawa", window=3, every=4)},
    "schedule-free": {"optimizer": "schedulefree:AdamWScheduleFree", "options": {"warmup_steps": 5}},
    "lookahead": {"around": LOOKAHEAD},
    "soap": {"optimizer": "pytorch_optimizer:SOAP"},
    "muon": {"optimizer": "muon", "weight_decay": 0.01},
    "rmsprop with decay and ema": {
        "optimizer": "torch.optim:RMSprop",
        "options": {"alpha": 0.9},
        "schedule": LearningRateSpec("cosine"),
        "averaging": AveragingSpec("ema", decay=0.9),
    },
}


def row(name: str, nowcaster: str = "none") -> MethodSpec:
    return MethodSpec(name, nowcaster, recipe=MethodRecipe(**RECIPES[name]))


def start(task, method, schedule, seed=1000) -> EvaluatedTraining:
    return EvaluatedTraining(start_training(task, method, seed, schedule, method_nowcaster(method, seed, schedule)))


def numbers(rows):
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


@pytest.mark.parametrize("nowcaster", ["none", "linear"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_run_that_is_stopped_goes_on_to_the_bit(variant, schedule, tmp_path, name, nowcaster) -> None:
    digits = variant(evaluation={"test_every": 5})
    whole, stopped = (start(digits, row(name, nowcaster), schedule) for _ in range(2))
    while not whole.finished:
        whole.advance()
    for _ in range(26):  # after a nowcast, and between two updates of lawa
        stopped.advance()
    torch.save(stopped.state_dict(), tmp_path / "state.pt")
    for _ in range(3):
        stopped.advance()
    resumed = start(digits, row(name, nowcaster), schedule)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    while not resumed.finished:
        resumed.advance()
    assert torch.equal(resumed.training.flat_parameters(), whole.training.flat_parameters())
    assert numbers(resumed.rows) == numbers(whole.rows)
    assert len(whole.nowcasts) == (2 if nowcaster == "linear" else 0)
    assert all(row["accepted"] for row in whole.nowcasts)


@pytest.mark.parametrize("name", ["ema", "lawa", "schedule-free"])
@pytest.mark.parametrize("nowcaster", ["none", "linear"])
def test_what_is_measured_is_not_what_is_trained_and_does_not_change_it(variant, schedule, name, nowcaster) -> None:
    often, once = ({"test_every": every, "validation_every": every} for every in (5, STEPS))
    runs = [start(variant(evaluation=every), row(name, nowcaster), schedule) for every in (often, once)]
    for run in runs:
        while not run.finished:
            run.advance()
    assert torch.equal(runs[0].training.flat_parameters(), runs[1].training.flat_parameters())
    training = runs[0].training
    with training.measured() as model:
        measured = torch.cat([p.detach().flatten() for p in model.parameters()])
        assert training.task.evaluate(model, "test") == runs[0].rows[-1]["test"]
    assert not torch.equal(measured, training.flat_parameters())


def test_averages_are_those_of_their_definition(digits) -> None:
    recipe = digits.spec.recipe
    plain = Training(digits, 1)
    ema = Training(digits.with_recipe(replace(recipe, averaging=AveragingSpec("ema", decay=0.5))), 1)
    lawa = Training(digits.with_recipe(replace(recipe, averaging=AveragingSpec("lawa", window=3, every=2))), 1)
    states = []
    for _ in range(9):
        for training in (plain, ema, lawa):
            training.step()
        states.append(plain.flat_parameters())
    expected = states[0]
    for state in states[1:]:
        expected = 0.5 * expected + 0.5 * state
    for training, mean in ((ema, expected), (lawa, torch.stack(states[3::2]).mean(0))):
        assert torch.equal(training.flat_parameters(), states[-1]), "averaging changes nothing of the training"
        with training.measured() as model:
            average = torch.cat([p.detach().flatten() for p in model.parameters()])
        torch.testing.assert_close(average, mean)
    first = Training(lawa.task, 1)
    first.step()
    with first.measured() as model:
        assert model is first.model, "without a state of the average yet, the weights are measured"


@pytest.mark.parametrize("averaging", [AveragingSpec("ema", decay=0.9), AveragingSpec("lawa", window=4)])
def test_an_average_goes_along_with_a_jump(digits, averaging) -> None:
    task = digits.with_recipe(replace(digits.spec.recipe, averaging=averaging))

    def lag(training):
        with training.measured() as model:
            average = torch.cat([p.detach().flatten() for p in model.parameters()])
        return training.flat_parameters() - average

    def wrap(base, model):
        return NiNo(base, model=model, nowcaster=LineFit(), period=PERIOD, horizons=20, verbose=False)

    training = Training(task, 1, wrap)
    for _ in range(PERIOD - 1):
        training.step()
    before, weights = lag(training), training.flat_parameters()
    training.stepped = lambda: None  # the jump alone, without the update of the average that follows every step
    training.step()
    jump = (training.flat_parameters() - weights).norm()
    assert jump > 2 * before.norm() > 0
    torch.testing.assert_close(lag(training), before, atol=1e-6, rtol=1e-4)


def test_a_jump_that_is_put_back_leaves_the_average_alone(digits, schedule) -> None:
    method = replace(row("ema", "random"), options={"accept": "loss", "update_scale": 1000.0})
    run = start(digits, method, schedule)
    for _ in range(PERIOD - 1):
        run.advance()
    average = copy.deepcopy(run.training.average.model.state_dict())
    run.training.average.step = lambda steps: None
    run.advance()
    assert [row["accepted"] for row in run.nowcasts] == [False]
    assert all(torch.equal(a, average[name]) for name, a in run.training.average.model.state_dict().items())


@pytest.mark.parametrize("averaging", [AveragingSpec("ema", decay=0.5), AveragingSpec("lawa", window=2)])
def test_running_statistics_are_averaged_and_counts_are_the_latest(averaging) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    average = build_average(averaging, model)
    means = []
    for step in range(2):
        model(torch.randn(8, 2, generator=torch.Generator().manual_seed(step)))
        means.append(model[1].running_mean.clone())
        average.step(step + 1)
    torch.testing.assert_close(average.model[1].running_mean, (means[0] + means[1]) / 2)
    assert average.model[1].num_batches_tracked in (1, 2)
    average.model.eval()
    assert average.model(torch.zeros(1, 2)).isfinite().all()


def test_the_learning_rate_of_each_step_is_the_schedules(digits, schedule) -> None:
    run = start(digits, row("linear", "linear"), schedule)
    used = []
    plain = run.training.optimizer.base.step
    run.training.optimizer.base.step = lambda: (used.append(run.training.optimizer.param_groups[0]["lr"]), plain())
    while not run.finished:
        run.advance()
    recipe = run.training.task.spec.recipe
    rates = [recipe.learning_rate(step) for step in range(1, STEPS + 1)]
    assert [row["lr"] for row in run.rows] == rates
    assert used == [rate for step, rate in enumerate(rates, 1) if step % PERIOD], "a nowcast is a step of the schedule"
    assert rates[:8] == pytest.approx([1e-2 * part / 7 for part in range(1, 8)] + [1e-2])
    assert rates[-1] == pytest.approx(1e-2 / (STEPS - 7))


def test_a_constant_rate_is_todays_training_to_the_bit(digits) -> None:
    same = digits.with_recipe(replace(digits.spec.recipe, schedule=LearningRateSpec()))
    runs = Training(digits, 3), Training(same, 3)
    for _ in range(10):
        assert torch.equal(runs[0].step(), runs[1].step())
    assert torch.equal(runs[0].flat_parameters(), runs[1].flat_parameters())


@pytest.mark.parametrize("name", ["linear", "ema", "lawa"])
def test_together_gives_the_numbers_of_alone(variant, schedule, tmp_path, name) -> None:
    task = variant(evaluation={"test_every": 10})
    jobs = [Job(task, row(name, "linear"), seed, schedule, tmp_path / f"{seed}") for seed in (1, 2)]
    together = evaluate_runs(jobs, members=2)
    for job, result in zip(jobs, together, strict=True):
        alone = evaluate_run(task, job.method, job.seed, schedule, tmp_path / f"alone-{job.seed}")
        assert result["members_at_once"] == 2 and alone["members_at_once"] == 1
        logs = [read_table(folder / "log.csv") for folder in (job.folder, tmp_path / f"alone-{job.seed}")]
        assert logs[0]["test"] == pytest.approx(logs[1]["test"], abs=1.0)
        assert logs[0]["train_loss"] == pytest.approx(logs[1]["train_loss"], rel=1e-3)


def test_what_cannot_be_stacked_is_trained_one_at_a_time(variant, schedule, tmp_path) -> None:
    task = variant(evaluation={"test_every": 20, "validation_every": 20})
    jobs = [Job(task, row("schedule-free"), seed, schedule, tmp_path / f"{seed}") for seed in (1, 2)]
    assert [result["members_at_once"] for result in evaluate_runs(jobs, members=2)] == [1, 1]


def test_a_run_records_the_recipe_of_its_row_on_its_own_task(variant, schedule, tmp_path) -> None:
    task = variant(evaluation={"test_every": 20, "validation_every": 20})
    recipe = MethodRecipe(lr=0.5, tasks={task.spec.id: RowRecipe(lr=0.02), "another": RowRecipe(lr=3.0)})
    method = MethodSpec("tuned", "none", recipe=recipe)
    result = evaluate_run(task, method, 1, schedule, tmp_path / "run")
    inputs = result["provenance"]["inputs"]
    assert inputs["task"]["recipe"]["lr"] == task.spec.recipe.lr and inputs["method"]["recipe"] == {"lr": 0.02}
    again = replace(method, recipe=MethodRecipe(lr=0.02))
    assert evaluate_run(task, again, 1, schedule, tmp_path / "run") == result, "the same run: it is not made again"
    tuned = evaluate_run(
        variant(evaluation={"test_every": 20, "validation_every": 20}, recipe={"lr": 0.02}),
        MethodSpec("base", "none"),
        1,
        schedule,
        tmp_path / "other",
    )
    assert tuned["final"] == result["final"], "a row's recipe trains as the same recipe of the task does"


def test_another_learning_rate_in_a_log_is_noticed(variant, schedule, tmp_path) -> None:
    task = variant(evaluation={"test_every": 20, "validation_every": 20})
    method = row("linear")
    evaluate_run(task, method, 1, schedule, tmp_path)
    assert set(read_run(tmp_path, task.spec, "linear", 1).log) > {"lr"}
    log, result = tmp_path / "log.csv", tmp_path / "run.json"
    text = result.read_text()
    changed = log.read_text().replace(repr(method.recipe_of(task.spec).learning_rate(20)), "0.5")
    digests = [sha256(content).hexdigest() for content in (log.read_bytes(), changed.encode())]
    result.write_text(text.replace(*digests))
    log.write_text(changed)
    with pytest.raises(CorruptRunError, match="learning rate 0.5 at step 20, the recipe's is"):
        read_run(tmp_path, task.spec, "linear", 1)


def test_an_average_that_did_not_change_is_not_checked_again(variant, schedule) -> None:
    task = variant(
        target={"value": 101.0}, evaluation={"hardest_first": True, "test_every": 1, "validation_every": STEPS}
    )
    method = MethodSpec("lawa", "none", recipe=MethodRecipe(averaging=AveragingSpec("lawa", window=3, every=10)))
    run = start(task, method, schedule)
    checks = []
    plain = run._target.rules_out
    run._target.rules_out = lambda model: checks.append(run.training.steps) or plain(model)
    while not run.finished:
        run.advance()
    assert checks == [*range(1, 11), 20, 30]
