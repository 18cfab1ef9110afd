"""Specs as plain objects: what is recorded of them, and what is read back."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from nino.specs import (
    DataSpec,
    EvaluationSpec,
    L2OSpec,
    MetatrainSpec,
    MetatrainUnit,
    MethodSpec,
    RecipeSpec,
    ReportSpec,
    ScheduleSpec,
    Spec,
    TaskSpec,
)

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted((ROOT / "results").rglob("run.json"))
MANIFESTS = sorted((ROOT / "results").glob("*/manifest.json"))


def test_specs_are_plain_frozen_objects() -> None:
    method = MethodSpec("m", "linear", options={"power": 0})
    assert replace(method, label="M") == MethodSpec("m", "linear", "M", options={"power": 0})
    assert ScheduleSpec(20).to_dict() == {"period": 20, "context": 5, "max_horizon": 40, "power": 2.0}
    assert [each.name for each in fields(DataSpec)] == ["name", "source", "path", "options"]
    assert hash(ScheduleSpec()) == hash(ScheduleSpec())
    with pytest.raises(AttributeError):
        method.name = "n"  # type: ignore[misc]


def test_a_spec_is_told_apart_by_its_keys() -> None:
    with pytest.raises(ValueError, match="ScheduleSpec: perod: unknown key; did you mean 'period'?"):
        ScheduleSpec.from_dict({"perod": 20})
    with pytest.raises(ValueError, match=r"period \(=0\) must be at least 1.*; power \(=NaN\) must be a finite number"):
        ScheduleSpec.from_dict({"period": 0, "power": float("nan")})


def test_files_of_runs_may_hold_data_sets_and_models_of_a_user_s_own() -> None:
    assert DataSpec.from_dict({"name": "mine", "options": {"anything": 1}}).options == {"anything": 1}
    assert MethodSpec.from_dict({"name": "m", "nowcaster": "mine"}).nowcaster == "mine"


def test_numbers_are_recorded_as_they_are_written() -> None:
    """A whole number where any number is allowed does not become another one in a recorded spec."""
    recipe = {"optimizer": "adam", "lr": 1, "steps": 10, "batch_size": 5}
    assert json.dumps(RecipeSpec.from_dict(recipe).to_dict()["lr"]) == "1"


def test_keys_that_came_later_are_left_out_where_nothing_is_said() -> None:
    assert "checkpoint_every" not in EvaluationSpec(5, 10).to_dict()
    assert EvaluationSpec(5, 10, checkpoint_every=3).to_dict()["checkpoint_every"] == 3
    unit = MetatrainUnit("nino", ("digits-8",), MetatrainSpec("nino"))
    assert "models" not in unit.to_dict()["metatrain"] and "checkpoint_every" in unit.to_dict()["metatrain"]
    assert replace(unit, metatrain=MetatrainSpec("nino", models=3)).to_dict()["metatrain"]["models"] == 3
    assert MetatrainUnit.from_dict(json.loads(json.dumps(unit.to_dict()))) == unit


@pytest.mark.parametrize("path", RUNS[:: max(1, len(RUNS) // 12)], ids=lambda path: str(path.relative_to(ROOT)))
def test_committed_runs_stay_the_jobs_that_they_are(path: Path) -> None:
    """A finished run whose recorded inputs change is done again."""
    inputs = json.loads(path.read_text(encoding="utf-8"))["provenance"]["inputs"]
    kinds: dict[str, type[Spec]] = {"task": TaskSpec, "method": MethodSpec, "schedule": ScheduleSpec}
    for name, kind in kinds.items():
        again = json.loads(json.dumps(kind.from_dict(inputs[name]).to_dict()))
        assert holds(again, inputs[name])


def holds(again: object, recorded: object) -> bool:
    """Whether what was recorded is the same, whole numbers still whole; keys that came later have their defaults."""
    if isinstance(again, dict) and isinstance(recorded, dict):
        later = {"accumulate": 1, "precision": "float32"}
        added = {key: value for key, value in again.items() if key not in recorded}
        return added.items() <= later.items() and all(holds(again[key], value) for key, value in recorded.items())
    return again == recorded and type(again) is type(recorded)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.parent.name)
def test_committed_reports_are_read_as_they_were_written(path: Path) -> None:
    recorded = json.loads(path.read_text(encoding="utf-8"))["report"]
    assert json.loads(json.dumps(ReportSpec.from_dict(recorded).to_dict())) == recorded


def test_there_are_committed_runs() -> None:
    assert len(RUNS) > 100 and len(MANIFESTS) > 5


BARE = ("nino", "nino.graphs", "nino.nowcasters", "nino.optim")


@pytest.mark.parametrize("modules", [BARE, ("nino.specs",), ("nino.config",)], ids=lambda modules: "+".join(modules))
def test_pydantic_waits_until_values_come_from_outside(modules: tuple[str, ...]) -> None:
    """The library works without pydantic; a command imports it when it reads a config or a spec file."""
    code = f"import sys, {', '.join(modules)}; print(sorted({{'pydantic', 'jsonschema'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_library_works_without_the_specs() -> None:
    code = f"import sys, {', '.join(BARE)}; nino.NiNo; print([m for m in sys.modules if m.startswith('nino.specs')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_learned_optimizers_round_trip() -> None:
    assert L2OSpec.from_dict(json.loads(json.dumps(L2OSpec(lr=1e-3).to_dict()))) == L2OSpec(lr=1e-3)
