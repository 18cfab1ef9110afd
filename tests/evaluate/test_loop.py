import math
from dataclasses import replace

import pytest
import torch

from nino.evaluate.loop import DivergedError, EvaluatedTraining
from nino.evaluate.methods import method_nowcaster, start_training
from nino.evaluate.oracle import Oracle
from nino.evaluate.target import steps_to_target
from nino.nowcasters.simple import LineFit
from nino.optim import NiNo
from nino.specs import MethodSpec, TargetSpec
from nino.tasks import Task
from nino.training import Training

STEPS, PERIOD = 40, 20  # of the fixtures


def method(nowcaster: str, **fields) -> MethodSpec:
    return MethodSpec(nowcaster, nowcaster, **fields)


CONTROLS = ("none", "identity", "linear", "random", "oracle")


def start(task, nowcaster, schedule, seed=1000):
    row = method(nowcaster)
    built = method_nowcaster(row, seed, schedule)
    return EvaluatedTraining(start_training(task, row, seed, schedule, built), free=isinstance(built, Oracle))


def run(task, nowcaster, schedule, steps=STEPS):
    evaluated = start(task, nowcaster, schedule)
    for _ in range(steps):
        evaluated.advance()
    return evaluated


def numbers(rows):
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


def test_step_t_is_batch_t_for_every_method_of_a_seed(variant, schedule, monkeypatch) -> None:
    task = variant(evaluation={"test_every": STEPS, "validation_every": STEPS})
    seen: dict[int, set[bytes]] = {}
    plain = Training.next_batch

    def spy(self):
        batch = plain(self)
        seen.setdefault(self.steps, set()).add(batch[0].numpy().tobytes() + batch[1].numpy().tobytes())
        return batch

    monkeypatch.setattr(Training, "next_batch", spy)
    for nowcaster in CONTROLS:
        run(task, nowcaster, schedule)
    assert sorted(seen) == list(range(max(seen) + 1)) and max(seen) >= STEPS - 1
    assert all(len(batches) == 1 for batches in seen.values())


def test_all_methods_start_alike_and_agree_until_the_first_nowcast(digits, schedule) -> None:
    runs = [run(digits, nowcaster, schedule, PERIOD - 1) for nowcaster in CONTROLS]
    for other in runs[1:]:
        assert numbers(other.rows) == numbers(runs[0].rows)
        assert torch.equal(other.training.flat_parameters(), runs[0].training.flat_parameters())


def test_the_wrapper_without_a_nowcaster_is_the_base_optimizer(digits, schedule) -> None:
    def wrap(base, model):
        return NiNo(base, model=model, period=schedule.period, max_train_steps=STEPS)

    wrapped = EvaluatedTraining(Training(digits, 1000, wrap))
    while not wrapped.finished:
        wrapped.advance()
    assert numbers(wrapped.rows) == numbers(run(digits, "none", schedule).rows)


def test_the_oracle_jumps_to_the_runs_own_later_state(digits, schedule) -> None:
    k, spacing = 3, 4
    oracle, base = run(digits, "oracle", schedule, PERIOD), run(digits, "none", schedule, PERIOD - 1 + k * spacing)
    assert oracle.nowcasts[0]["k"] == k
    assert torch.equal(oracle.training.flat_parameters(), base.training.flat_parameters())


def test_the_oracle_leaves_the_base_optimizers_state_alone(digits, schedule) -> None:
    oracle, identity = run(digits, "oracle", schedule, PERIOD), run(digits, "identity", schedule, PERIOD)
    for ours, theirs in zip(
        oracle.training.optimizer.base.state.values(), identity.training.optimizer.base.state.values(), strict=True
    ):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_oracles_steps_are_not_the_runs(digits, schedule) -> None:
    oracle, identity = run(digits, "oracle", schedule), run(digits, "identity", schedule)
    assert [row["step"] for row in oracle.rows] == [row["step"] for row in identity.rows]
    assert oracle.clock.seconds["free"] > 0 and oracle.clock.seconds["nowcast"] == 0
    assert identity.clock.seconds["free"] == 0 and identity.clock.seconds["nowcast"] > 0


def test_random_jumps_as_far_as_linear_and_elsewhere(digits, schedule) -> None:
    linear, random = run(digits, "linear", schedule, PERIOD), run(digits, "random", schedule, PERIOD)
    assert random.nowcasts[0]["norm"] == pytest.approx(linear.nowcasts[0]["norm"], rel=1e-4)
    assert linear.nowcasts[0]["norm"] > 0
    assert not torch.equal(linear.training.flat_parameters(), random.training.flat_parameters())


def test_identity_gives_up_one_base_step_a_period_and_moves_nowhere(digits, schedule) -> None:
    identity = run(digits, "identity", schedule, PERIOD)
    nowcast = identity.nowcasts[0]
    assert (nowcast["step"], nowcast["norm"], nowcast["accepted"]) == (PERIOD, 0.0, True)
    assert nowcast["loss_before"] == nowcast["loss_after"]
    assert identity.rows[-1]["test"] == identity.rows[-2]["test"]
    assert identity.rows[-1]["train_loss"] is None
    step_counts = [float(s["step"]) for s in identity.training.optimizer.base.state.values()]
    assert set(step_counts) == {PERIOD - 1.0}


def test_losses_around_a_nowcast_are_of_the_steps_own_batch(digits, schedule) -> None:
    linear = run(digits, "linear", schedule, PERIOD)
    base = run(digits, "none", schedule, PERIOD)
    with torch.no_grad():
        batch = next(digits.batches(1000, PERIOD - 1))
        after = float(digits.loss(linear.training.model, batch))
    assert linear.nowcasts[0]["loss_before"] == pytest.approx(base.rows[-1]["train_loss"], rel=1e-6)
    assert linear.nowcasts[0]["loss_after"] == pytest.approx(after, rel=1e-6)


def test_what_is_measured_when(variant, schedule) -> None:
    task = variant(evaluation={"test_every": 3, "validation_every": 6})
    rows = run(task, "linear", schedule).rows
    assert [row["step"] for row in rows] == [*range(3, STEPS, 3), STEPS]  # the last step always
    assert all((row["validation"] is not None) == (row["step"] % 6 == 0 or row["step"] == STEPS) for row in rows)


def test_train_loss_is_the_mean_of_the_gradient_steps_since_the_last_row(variant, digits, schedule) -> None:
    every = run(digits, "linear", schedule).rows
    losses = {row["step"]: row["train_loss"] for row in every if row["train_loss"] is not None}
    assert set(range(1, STEPS + 1)) - set(losses) == {PERIOD, STEPS}
    for row in run(variant(evaluation={"test_every": 7, "validation_every": 7}), "linear", schedule).rows:
        steps = [s for s in range(row["step"] - (row["step"] % 7 or 7) + 1, row["step"] + 1) if s in losses]
        assert row["train_loss"] == pytest.approx(sum(losses[s] for s in steps) / len(steps))


def test_a_nowcast_step_is_measured_before_or_after(pydoc, schedule) -> None:
    later = replace(pydoc.spec, evaluation=replace(pydoc.spec.evaluation, at_nowcast="after"))
    before = run(pydoc, "random", schedule, PERIOD)
    after = run(Task(later, pydoc.data), "random", schedule, PERIOD)
    assert numbers(before.rows[:1]) == numbers(after.rows[:1])
    stopped = start(pydoc, "none", schedule)
    for _ in range(PERIOD - 1):
        stopped.advance()
    assert before.rows[1]["test"] == stopped.training.evaluate("test")
    assert after.rows[1]["test"] == after.training.evaluate("test") != before.rows[1]["test"]


def test_a_language_task_has_perplexities(pydoc, schedule) -> None:
    rows = run(pydoc, "linear", schedule).rows
    assert [row["step"] for row in rows] == [10, 20, 30, 40]
    assert 256 * 1.2 > rows[0]["test"] > rows[1]["test"] > 1
    assert rows[1]["validation"] is not None and rows[0]["validation"] is None


def test_a_loss_that_is_not_finite_is_found_with_its_step(variant, schedule) -> None:
    task = variant(recipe={"lr": 1e30}, evaluation={"test_every": 5, "validation_every": 5})
    evaluated = start(task, "linear", schedule)
    with pytest.raises(DivergedError, match=r"became (nan|inf) at step [234]$"):
        for _ in range(STEPS):
            evaluated.advance()
    assert evaluated.rows == []


def test_accepting_by_the_loss_never_keeps_a_worse_one(digits, schedule) -> None:
    row = method("random", options={"accept": "loss"})
    nowcaster = method_nowcaster(row, 1000, schedule)
    evaluated = EvaluatedTraining(start_training(digits, row, 1000, schedule, nowcaster))
    while not evaluated.finished:
        evaluated.advance()
    assert [nowcast["step"] for nowcast in evaluated.nowcasts] == [PERIOD, STEPS]
    for nowcast in evaluated.nowcasts:
        if nowcast["accepted"]:
            assert nowcast["loss_after"] <= nowcast["loss_before"]
    refused = [nowcast for nowcast in evaluated.nowcasts if not nowcast["accepted"]]
    assert refused and all(nowcast["loss_after"] > nowcast["loss_before"] for nowcast in refused)
    assert all(math.isfinite(row["test"]) for row in evaluated.rows)


def test_a_nowcast_that_is_not_finite_has_no_loss_after_it(digits, schedule, monkeypatch) -> None:
    evaluated = start(digits, "linear", schedule)
    predict = type(evaluated.training.optimizer.nowcaster).predict
    monkeypatch.setattr(LineFit, "predict", lambda *args, **kwargs: predict(*args, **kwargs) * math.nan)
    for _ in range(PERIOD):
        evaluated.advance()
    (nowcast,) = evaluated.nowcasts
    assert not nowcast["accepted"] and nowcast["loss_before"] > 0 and nowcast["loss_after"] is None


def test_losses_around_nowcasts_are_the_steps_own(digits, schedule) -> None:
    short = replace(schedule, period=10)
    evaluated = run(digits, "linear", short)
    own = {row["step"]: row["train_loss"] for row in evaluated.rows}
    found = evaluated.losses_near_nowcasts.rows()
    assert [(row["step"], row["offset"]) for row in found] == [
        (step, offset)
        for step in range(10, STEPS + 1, 10)
        for offset in (*range(-9, 0), *range(1, 10 if step < STEPS else 1))
    ], "neither side reaches over another nowcast"
    assert all(row["loss"] == own[row["step"] + row["offset"]] for row in found)


def test_losses_around_nowcasts_reach_so_far_and_no_further(digits, schedule, monkeypatch) -> None:
    monkeypatch.setattr("nino.evaluate.losses_near_nowcasts.REACH", 3)
    evaluated = run(digits, "linear", schedule, STEPS - 1)
    assert [row["offset"] for row in evaluated.losses_near_nowcasts.rows()] == [-3, -2, -1, 1, 2, 3]


@pytest.mark.parametrize("nowcaster", CONTROLS)
def test_a_state_goes_on_where_it_was_taken(digits, schedule, nowcaster) -> None:
    whole = run(digits, nowcaster, schedule)
    part = run(digits, nowcaster, schedule, PERIOD + 9)
    resumed = start(digits, nowcaster, schedule)
    resumed.load_state_dict(part.state_dict())
    while not resumed.finished:
        resumed.advance()
    assert numbers(resumed.rows) == numbers(whole.rows)
    assert resumed.losses_near_nowcasts.rows() == whole.losses_near_nowcasts.rows()
    assert torch.equal(resumed.training.flat_parameters(), whole.training.flat_parameters())


@pytest.mark.parametrize("nowcaster", ["none", "linear"])
@pytest.mark.parametrize("value", [15.0, 25.0, 99.0])
def test_hardest_first_finds_the_same_first_hit_with_fewer_rows(variant, schedule, nowcaster, value) -> None:
    every = {"test_every": 1, "validation_every": 15}
    parts = {"target": {"value": value}, "recipe": {"lr": 0.03}}
    full = run(variant(**parts, evaluation=every), nowcaster, schedule)
    sparse = run(variant(**parts, evaluation=every | {"hardest_first": True}), nowcaster, schedule)
    target = TargetSpec("accuracy", value)
    hits = [
        steps_to_target({name: [row[name] for row in evaluated.rows] for name in ("step", "test")}, target)
        for evaluated in (full, sparse)
    ]
    assert hits[0] == hits[1]
    assert (value == 99.0) == (hits[0] is None)
    assert {15, 30, STEPS} <= {row["step"] for row in sparse.rows} and len(sparse.rows) < len(full.rows) / 2
    test = {row["step"]: (row["test"], row["validation"]) for row in full.rows}
    assert all((row["test"], row["validation"]) == test[row["step"]] for row in sparse.rows)
