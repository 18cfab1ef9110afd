from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nino.specs import (
    DataSpec,
    EvaluationSpec,
    MethodSpec,
    ModelSpec,
    RecipeSpec,
    ReportSpec,
    ScheduleSpec,
    TargetSpec,
    TaskSpec,
)


@pytest.fixture
def spec() -> ReportSpec:
    task = TaskSpec(
        id="digits-8",
        data=DataSpec("digits"),
        model=ModelSpec("convnet", {"channels": [8]}),
        recipe=RecipeSpec("adam", lr=0.01, steps=100, batch_size=32),
        target=TargetSpec("accuracy", 85.0),
        evaluation=EvaluationSpec(5, 10),
    )
    kinds = ("none", "identity", "random", "oracle", "linear", "metatrained", "metatrained")
    names = ("base", "identity", "random", "oracle", "linear", "wnn+", "nino")
    return ReportSpec(
        run="fake",
        tasks=(task, replace(task, id="digits-16")),
        methods=tuple(MethodSpec(name, kind) for name, kind in zip(names, kinds, strict=True)),
        seeds=(1000, 2000, 3000),
        schedule=ScheduleSpec(period=100),
        only={"wnn+": ("digits-8",)},
        overlays=("a.yaml",),
    )


def test_round_trip_through_json(spec: ReportSpec) -> None:
    assert ReportSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_roles(spec: ReportSpec) -> None:
    assert spec.contenders == ("wnn+", "nino")
    assert spec.controls == ("identity", "random", "oracle", "linear")
    assert spec.row_order[0] == "base" and set(spec.row_order) == {m.name for m in spec.methods}
    assert set(spec.row_order) - set(spec.realizable) == {"oracle", "wnn+"}


def test_bad_specs_name_the_key_and_what_is_allowed(spec: ReportSpec) -> None:
    with pytest.raises(ValueError, match="`baseline`.*'adam'.*base, identity"):
        replace(spec, baseline="adam")
    with pytest.raises(ValueError, match="`seeds`: 1000"):
        replace(spec, seeds=(1000, 2000, 1000))
    with pytest.raises(ValueError, match="`confidence`.*between 0 and 1"):
        replace(spec, confidence=95)
    with pytest.raises(ValueError, match="ReportSpec: confidnce: unknown key; did you mean 'confidence'?"):
        ReportSpec.from_dict(spec.to_dict() | {"confidnce": 0.9})
    with pytest.raises(ValueError, match="ReportSpec: `baseline` \\(='adam'\\) must be one of the methods"):
        ReportSpec.from_dict(spec.to_dict() | {"baseline": "adam"})
