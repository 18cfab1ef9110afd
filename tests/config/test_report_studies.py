"""``report.studies``: which studies' tables belong to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nino.config.errors import ConfigError
from nino.config.load import load
from nino.config.resolve import resolve
from nino.report.studies import study_names
from nino.specs.studies import STUDIES

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = sorted((ROOT / "workflow" / "configs" / "studies").glob("*.yaml"))


def test_a_run_has_the_studies_that_it_names_and_its_report_is_told_nothing(config: dict[str, Any]) -> None:
    before = resolve(config)
    config["report"]["studies"] = ["time", "spikes"]
    run = resolve(config)
    assert (before.studies, run.studies) == ((), ("time", "spikes"))
    assert run.report == before.report, "tables of finished runs are not made anew for it"


def test_an_unknown_study_is_named(config: dict[str, Any]) -> None:
    config["report"]["studies"] = ["tme"]
    with pytest.raises(ConfigError, match=r"report.studies\[0\] \(='tme'\): no such study; did you mean 'time'"):
        resolve(config)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_every_study_of_trainings_puts_its_table_into_the_report(overlay: Path) -> None:
    run = resolve(load([overlay]))
    measured = run.run.startswith(tuple(STUDIES))
    assert bool(run.studies) != measured and set(run.studies) <= set(study_names())
