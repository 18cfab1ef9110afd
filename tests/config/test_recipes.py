"""Recipes of tasks and rows: what is refused before any job, and what each job is told."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nino.config.errors import ConfigError
from nino.config.load import load
from nino.config.resolve import resolve
from nino.config.units import units
from nino.schedule import horizons_under
from nino.specs import RecipeSpec
from nino.specs.outside import files

ROOT = Path(__file__).resolve().parents[2]
SOAP, FREE = "pytorch_optimizer:SOAP", "schedulefree:AdamWScheduleFree"


def own(config: dict[str, Any], recipe: Any, **method: Any) -> dict[str, Any]:
    config["evaluate"]["methods"]["own"] = {"nowcaster": "none", "recipe": recipe, **method}
    return config


def refused(config: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as error:
        resolve(config)
    return list(error.value.problems)


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        ({"optimizer": "adan"}, "recipe.optimizer (=\"adan\"): did you mean 'adam'? Allowed: adam, adamw, muon, sgd"),
        ({"optimizer": "none.py:Lion"}, "recipe.optimizer (=none.py:Lion): there is no file none.py"),
        ({"optimizer": "no_such_module:Lion"}, "there is no installed module no_such_module"),
        ({"optimizer": "torch.optim:Adaam"}, "recipe.optimizer (=torch.optim:Adaam): torch.optim defines no Adaam"),
        ({"optimizer": FREE, "options": {"warm": 5}}, "AdamWScheduleFree takes no argument 'warm'"),
        ({"optimizer": "sgd", "options": {"momentun": 0.5}}, "recipe.options.momentun: unknown key; did you mean"),
        ({"options": {"momentum": 0.5}}, "recipe.options.momentum: unknown key"),  # of the task's own optimizer
        ({"options": {"betas": [0.9]}}, "recipe.options.betas (=[0.9]) must hold at least 2 entry"),
        ({"optimizer": SOAP, "options": {"lr": 1.0}}, "recipe.options.lr (=1.0): "),
        ({"lr": 0}, "recipe.lr (=0) must be greater than 0"),
        ({"steps": 5}, "recipe.steps: unknown key"),
        ({"schedule": "cosine"}, "recipe.schedule (=\"cosine\") must be a mapping"),
        ({"schedule": {"kind": "cosin"}}, "recipe.schedule.kind (=\"cosin\"): did you mean 'cosine'?"),
        ({"schedule": {"warmup": 100}}, "schedule.warmup (=100) must be less than recipe.steps (=100 of digits-8)"),
        ({"schedule": {"final": 0.1}}, "recipe.schedule.final (=0.1) is where a decay ends, and kind is 'constant'"),
        ({"schedule": {"kind": "linear", "final": 1}}, "recipe.schedule.final (=1) must be less than 1"),
        ({"averaging": {"kind": "ema"}}, "recipe.averaging.decay: missing; kind 'ema' needs it"),
        ({"averaging": {"kind": "lawa", "decay": 0.9, "window": 3}}, "decay (=0.9) goes with kind 'ema' only"),
        ({"averaging": {"kind": "ema", "decay": 1}}, "recipe.averaging.decay (=1) must be less than 1"),
        ({"averaging": {"kind": "lawa", "window": 3, "every": 101}}, "every (=101) must be at most recipe.steps"),
        ({"around": {"optimizer": "pytorch_optimizer:Lookahead", "options": {"kay": 3}}, "lr": 0}, "recipe.lr"),
        ({"around": {"optimizer": "none.py:Outer"}}, "around.optimizer (=none.py:Outer): there is no file none.py"),
        ({"tasks": {"digits-9": {"lr": 1.0}}}, "recipe.tasks.digits-9: no such task; did you mean 'digits-8'?"),
        ({"tasks": {"digits-8": {"optimizer": "none.py:A"}}}, "tasks.digits-8.optimizer (=none.py:A): there is no"),
        ({"tasks": {"pydoc-2-16": {"schedule": {"warmup": 100}}}}, "less than recipe.steps (=100 of pydoc-2-16)"),
    ],
)  # fmt: skip
def test_what_no_run_can_train_with_is_refused(config: dict[str, Any], recipe: Any, problem: str) -> None:
    assert any(problem in sentence for sentence in refused(own(config, recipe))), refused(config)


def test_a_tasks_own_recipe_is_held_to_the_same(config: dict[str, Any]) -> None:
    recipe = config["tasks"]["digits-8"]["recipe"]
    recipe |= {"schedule": {"kind": "linear", "warmup": 100}, "averaging": {"kind": "lawa"}}
    assert refused(config) == [
        "tasks.digits-8.recipe.schedule.warmup (=100) must be less than recipe.steps (=100)",
        "tasks.digits-8.recipe.averaging.window: missing; kind 'lawa' needs it",
    ]
    recipe |= {
        "schedule": {},
        "averaging": {"kind": "none"},
        "optimizer": "torch.optim:RMSprop",
        "options": {"beta": 1},
    }
    assert "RMSprop takes no argument 'beta'; allowed: alpha, " in refused(config)[0]


def test_a_learned_optimizer_has_no_recipe(config: dict[str, Any]) -> None:
    config["metatrain"]["optimizers"] = {"l2o": {"task": "digits-8"}}
    assert (
        "takes every step by a learned optimizer; leave it out"
        in refused(own(config, {"lr": 1.0}, nowcaster="l2o", source="l2o"))[0]
    )


def test_an_optimizer_without_decay_refuses_it(config: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("class Plain:\n    def __init__(self, params, lr):\n        pass\n")
    fine = own(config, {"optimizer": "mine.py:Plain", "tasks": {"pydoc-2-16": {"weight_decay": 0.0}}})
    run = resolve(fine)
    assert files(run.methods["own"]) == ["mine.py"] == run.sources("digits-8", "own")
    config["evaluate"]["methods"]["own"]["recipe"].pop("tasks")  # pydoc-2-16 is trained with decay
    assert "Plain takes no argument 'weight_decay'" in refused(config)[0]


def test_rows_are_told_what_holds_on_their_task(config: dict[str, Any]) -> None:
    recipe = {
        "optimizer": SOAP,
        "lr": 0.01,
        "tasks": {"digits-8": {"lr": 0.02, "averaging": {"kind": "ema", "decay": 0.9}}},
    }
    run = resolve(own(config, recipe))
    specs = {name: unit.to_dict() for name, unit in units(run)}
    told = {t: specs[f"results/small/specs/evaluate/{t}/own.json"]["method"]["recipe"] for t in run.evaluated}
    assert told["pydoc-2-16"] == {"optimizer": SOAP, "lr": 0.01}
    assert told["digits-8"]["lr"] == 0.02 and told["digits-8"]["averaging"]["decay"] == 0.9
    assert all("recipe" not in s["method"] for n, s in specs.items() if n.endswith("linear.json"))
    trained = run.methods["own"].recipe_of(run.tasks["pydoc-2-16"])
    assert (trained.optimizer, trained.lr, trained.weight_decay, trained.batch_size) == (SOAP, 0.01, 0.01, 16)


def test_another_optimizer_begins_without_the_tasks_options(config: dict[str, Any]) -> None:
    config["tasks"]["digits-8"]["recipe"]["options"] = {"betas": [0.8, 0.9]}
    run = resolve(own(config, {"optimizer": "sgd"}))
    assert run.methods["own"].recipe_of(run.tasks["digits-8"]).options is None
    assert run.methods["base"].recipe_of(run.tasks["digits-8"]).options == {"betas": [0.8, 0.9]}


def test_specs_of_recipes_come_back_from_json(config: dict[str, Any]) -> None:
    recipe = {"lr": 0.01, "schedule": {"kind": "cosine", "warmup": 3}, "tasks": {"digits-8": {"lr": 1}}}
    report = resolve(own(config, recipe)).report
    assert type(report).from_dict(json.loads(json.dumps(report.to_dict()))) == report
    plain = RecipeSpec("adam", 0.1, 10, 1)
    assert set(plain.to_dict()) == {"optimizer", "lr", "steps", "batch_size", "weight_decay", "accumulate", "precision"}


def test_reports_say_the_recipes_of_their_rows(config: dict[str, Any]) -> None:
    recipe = {"schedule": {"kind": "cosine", "warmup": 5}, "tasks": {"digits-8": {"lr": 0.02}}}
    report = resolve(own(config, recipe, label="Tuned")).report
    cosine = "5 steps of warm-up, cosine decay to 0"
    assert report.remarks() == (
        f"In place of the task's recipe: Tuned: on digits-8 lr 0.02, {cosine}, on pydoc-2-16 {cosine}.",
    )
    assert report.remarks("pydoc-2-16") == (f"In place of the task's recipe: Tuned: {cosine}.",)


def test_the_referees_rows_are_planned() -> None:
    configs = ROOT / "workflow" / "configs"
    run = resolve(load([configs / "cpu.yaml", configs / "referee.yaml"], ROOT / "config.yaml"))
    assert len(run.methods) == 22 and len(run.evaluations) == 2 * 22 * 6
    for name, method in run.methods.items():
        if name.startswith("nino-"):
            base = next(run.methods[row] for row in (f"adam-{name[5:]}", name[5:]) if row in run.methods)
            assert base.recipe == method.recipe and base.nowcaster == "none"
    assert {task.data.source for task in run.report.tasks} == {"npz"}
    tuning = resolve(load([configs / "studies" / "tuning.yaml"], ROOT / "config.yaml"))
    assert {task.target.split for task in tuning.report.tasks} == {"validation"}
    assert not {*tuning.seeds} & {*run.seeds}


def test_the_horizons_of_the_row_that_follows_the_learning_rate_are_those_of_its_schedule() -> None:
    run = resolve(load([ROOT / "workflow" / "configs" / "studies" / "recipes-cpu.yaml"]))
    method = run.methods["nino-cosine-reach"]
    recipe = method.recipe_of(run.tasks["c10-16"])
    assert recipe.schedule is not None
    rate = partial(recipe.schedule.factor, steps=recipe.steps)
    assert list(method.options["horizons"]) == horizons_under(rate, recipe.steps, run.schedule.period)


@pytest.mark.parametrize(
    ("horizons", "problem"),
    [
        ([], "evaluate.methods.own.options.horizons"),
        ([3, 0], "evaluate.methods.own.options.horizons[1] (=0)"),
        ([2.5], "evaluate.methods.own.options.horizons[0] (=2.5)"),
    ],
)
def test_horizons_that_no_nowcast_could_have_are_refused(config: dict[str, Any], horizons: Any, problem: str) -> None:
    config["evaluate"]["methods"]["own"] = {"nowcaster": "linear", "options": {"horizons": horizons}}
    assert any(line.startswith(problem) for line in refused(config))
