from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nino.specs import ReportSpec


def test_round_trip_through_json(spec: ReportSpec) -> None:
    assert ReportSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_roles(spec: ReportSpec) -> None:
    assert spec.contenders == ("wnn+", "nino")
    assert spec.controls == ("identity", "random", "oracle", "linear")
    assert spec.row_order[0] == "base" and set(spec.row_order) == {m.name for m in spec.methods}
    assert set(spec.row_order) - set(spec.realizable) == {"oracle"}


def test_bad_specs_name_the_key_and_what_is_allowed(spec: ReportSpec) -> None:
    with pytest.raises(ValueError, match="`baseline`.*'adam'.*base, identity"):
        replace(spec, baseline="adam")
    with pytest.raises(ValueError, match="`seeds`: 1000"):
        replace(spec, seeds=(1000, 2000, 1000))
    with pytest.raises(ValueError, match="`confidence`.*between 0 and 1"):
        replace(spec, confidence=95)
    with pytest.raises(ValueError, match="unknown key 'confidnce'"):
        ReportSpec.from_dict(spec.to_dict() | {"confidnce": 0.9})
