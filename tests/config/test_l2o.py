"""Learned optimizers in a config: what is refused, what a run then consists of."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from nino.config.errors import ConfigError
from nino.config.layout import Layout
from nino.config.load import load
from nino.config.resolve import resolve
from nino.config.units import units
from nino.specs import L2OUnit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def loaded() -> dict[str, Any]:
    return dict(load([], ROOT / "config.yaml"))


@pytest.fixture
def config(loaded: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(loaded)


def complaint(config: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as error:
        resolve(config)
    return str(error.value)


def test_the_paper_s_run_fits_one_and_runs_it(config: dict[str, Any]) -> None:
    run = resolve(config)
    paths = Layout(run.run)
    assert run.learned == ("l2o",) and run.optimizers["l2o"].task.id == "fm-16"
    assert run.weights("l2o") == [paths.l2o_checkpoint("l2o")]
    assert {task for task, method, _ in run.evaluations if method == "l2o"} == {
        "fm-16", "c10-16", "fm-32", "c10-32", "c100-32",
    }  # fmt: skip
    told = dict(units(run))[paths.l2o_spec("l2o")]
    assert isinstance(told, L2OUnit) and told.task == run.tasks["fm-16"] and told.l2o.hidden == 32
    assert L2OUnit.from_dict(told.to_dict()) == told


def test_a_task_that_only_an_optimizer_learns_from_is_read(config: dict[str, Any]) -> None:
    config["evaluate"]["tasks"] = ["c10-16"]
    config["evaluate"]["methods"] = {name: config["evaluate"]["methods"][name] for name in ("base", "l2o")}
    config["evaluate"]["methods"]["l2o"] = {"nowcaster": "l2o", "source": "l2o"}
    assert set(resolve(config).used) == {"fm-16", "c10-16"}


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ({"nowcaster": "l2o"}, "evaluate.methods.l2o: nowcaster 'l2o' needs either source"),
        (
            {"nowcaster": "l2o", "source": "l2o", "path": "x"},
            "evaluate.methods.l2o: nowcaster 'l2o' needs either source",
        ),
        ({"nowcaster": "l2o", "source": "l20"}, "l2o.source (='l20'): no such entry of metatrain.optimizers"),
        ({"nowcaster": "l2o", "source": "l2o", "options": {"accept": "loss"}}, "evaluate.methods.l2o.options"),
    ],
)
def test_methods_that_are_refused(config: dict[str, Any], method: dict[str, Any], says: str) -> None:
    config["evaluate"]["methods"]["l2o"] = method
    assert says in complaint(config)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"task": "fm-17"}, "metatrain.optimizers.l2o.task (='fm-17'): no such task; did you mean"),
        ({"task": "fm-16", "max_steps": 5}, "max_steps (=5) must be at least metatrain.optimizers.l2o.unroll (=20)"),
        ({"task": "fm-16", "unrol": 5}, "metatrain.optimizers.l2o.unrol: unknown key; did you mean 'unroll'?"),
        ({"task": "fm-16", "lr": -1}, "metatrain.optimizers.l2o.lr (=-1) must be greater than 0"),
        ({}, "metatrain.optimizers.l2o.task: missing"),
    ],
)
def test_optimizers_that_are_refused(config: dict[str, Any], entry: dict[str, Any], says: str) -> None:
    config["metatrain"]["optimizers"]["l2o"] = entry
    assert says in complaint(config)
