"""One schedule for each method: what the function says is what a run does, and what all who ask it are told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nino.config.load import load
from nino.config.resolve import resolve
from nino.evaluate.methods import start_training
from nino.nowcasters import WNN, LineFit, save_nowcaster
from nino.plan.estimate import _Planner
from nino.report.measures import PLANNED
from nino.specs import MethodSpec, ScheduleSpec
from nino.specs.method_schedule import known_fixed_horizon, method_schedule

ROOT = Path(__file__).resolve().parents[2]
SCHEDULE = ScheduleSpec(period=20, context=5, max_horizon=3)
USERS = """
from nino.nowcasters import Nowcaster
class Base(Nowcaster):
    fixed_horizon: int = 7
class Near(Base):
    context = None
class Any(Base):
    fixed_horizon = None
class Computed(Nowcaster):
    fixed_horizon = 2 + 2
"""


@pytest.mark.parametrize(
    ("nowcaster", "options"),
    [
        ("linear", {}),
        ("linear", {"period": 10, "spacing": 2}),
        ("linear", {"period": 12, "context": 4, "max_horizon": 2, "power": 0}),
        ("linear", {"context": 3, "spacing": 6}),
        ("linear", {"horizons": [4, 2]}),
        ("wnn", {}),
    ],
)
def test_a_run_nowcasts_as_its_schedule_says(digits, nowcaster: str, options: dict) -> None:
    row = MethodSpec("row", "checkpoint" if nowcaster == "wnn" else nowcaster, path="wnn", options=options)
    built = WNN() if nowcaster == "wnn" else LineFit()
    training = start_training(digits, row, 1000, SCHEDULE, built)
    saved, taken = [], []
    opt = training.optimizer
    save = opt.history.save
    opt.history.save = lambda slot, *rest: (saved.append(opt.steps + 1), save(slot, *rest))
    opt.register_nowcast_post_hook(lambda opt, record: taken.append((record.step, record.k)))
    steps = digits.spec.recipe.steps
    for _ in range(steps):
        training.step()
    schedule = method_schedule(row, SCHEDULE, steps)
    assert taken == [(step, schedule.horizon(step)) for step in schedule.nowcasts(steps)]
    # what is saved after the last nowcast waits for one that does not come
    read = [state for step in schedule.nowcasts(steps) for state in schedule.states(step)]
    assert [step for step in saved if step <= taken[-1][0]] == read


def test_the_plan_charges_the_nowcasts_that_a_run_takes() -> None:
    run = resolve(load([ROOT / "workflow" / "configs" / "studies" / "time.yaml"]))
    task = run.tasks[run.evaluated[0]]
    charged = {}
    for name, method in run.methods.items():
        if method.nowcaster not in ("none", "l2o"):
            times = SimpleNamespace(check=0, test=0, step=0, own_steps={}, validation=0, nowcasts={name: 1.0})
            charged[name] = _Planner._run_seconds(SimpleNamespace(run=run), task, method, times)  # type: ignore[arg-type]
    assert charged["nino"] == 10 and charged["period-500"] == 20 and charged["period-2000"] == 5


def test_the_report_says_how_far_the_first_nowcast_reaches() -> None:
    spec = SimpleNamespace(schedule=ScheduleSpec())

    def reach(**options) -> float:
        return PLANNED["reach"](spec, MethodSpec("row", "checkpoint", path="nino_no_posw", options=options))  # type: ignore[arg-type]

    wnn = MethodSpec("wnn", "checkpoint", path="wnn")
    assert PLANNED["reach"](spec, wnn) == 1000  # type: ignore[arg-type]
    assert reach() == 8000 and reach(spacing=100) == 4000 and reach(horizons=[9, 40]) == 1800


def test_what_a_fixed_horizon_is_known_from(tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_nowcaster(WNN(), tmp_path / "own.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"\xff" * 20)
    (tmp_path / "mine.py").write_text(USERS)

    def of(path: str | Path) -> int | None:
        return known_fixed_horizon(MethodSpec("m", "checkpoint", path=str(path)))

    assert of("wnn") == of("wnn.pt") == of("own.safetensors") == WNN.fixed_horizon
    assert of(shared / "pretrained" / "wnn_fc.pt") == WNN.fixed_horizon
    for path in ("nino_no_posw", "damaged.safetensors", "nowhere.pt", shared / "pretrained" / "nino_no_posw.pt"):
        assert of(path) is None
    for name, horizon in {"Base": 7, "Near": 7, "Any": None, "Computed": None}.items():
        assert known_fixed_horizon(MethodSpec("m", f"mine.py:{name}")) == horizon
    assert known_fixed_horizon(MethodSpec("m", "nowhere.py:Gone")) is None
    row = MethodSpec("m", "mine.py:Near")
    assert method_schedule(row, SCHEDULE, 60).horizons == (7,)


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 20), st.integers(1, 300), st.integers(1, 50))
def test_options_win_over_the_experiments_schedule(context, spacing, extra, steps, first) -> None:
    period = (context - 1) * spacing + 1 + extra
    options = {"period": period, "context": context, "spacing": spacing, "max_horizon": first, "power": 0}
    own = method_schedule(MethodSpec("m", "linear", options=options), ScheduleSpec(), max(steps, period))
    assert (own.period, own.context, own.spacing) == (period, context, spacing)
    assert set(own.horizons) == {first} and own.reach(0) == first * spacing
    assert len(own.nowcasts(steps)) == steps // period
