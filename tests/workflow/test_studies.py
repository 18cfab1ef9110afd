"""Real targets of studies, from nothing to the table and the report."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.workflow.driver import RUN, TINY, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]


def test_a_study_that_is_no_training_runs_from_its_target(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "--cores", 1, "--", RUN / "tables" / "permutation.md")
    assert done.code == 0 and done.jobs == {"permutation": 1}, done.text
    assert "both ways, no positions" in (tmp_path / RUN / "tables" / "permutation.md").read_text()
    record = json.loads((tmp_path / RUN / "manifests" / "permutation.json").read_text())
    assert record["inputs"]["spec"]["permutations"] == 40


def test_a_study_of_trainings_is_made_from_nothing_and_shown_in_the_report(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    values = {"evaluate": {"seeds": [1000], "methods": {"nino": None}}, "report": {"studies": ["spikes"]}}
    overlay.write_text(yaml.safe_dump(values))
    layers, target = (TINY, overlay), RUN / "tables" / "spikes.html"
    assert snakemake(tmp_path, "--dry-run", overlays=layers).jobs["study_spikes"] == 1, "part of `all`"
    done = snakemake(tmp_path, "--cores", 1, "--", target, overlays=layers)
    assert done.code == 0 and done.jobs == {"data": 1, "evaluate": 2, "study_spikes": 1}, done.text
    cells = pd.read_csv(tmp_path / RUN / "tables" / "spikes.csv").set_index(["row", "column"])
    assert cells.loc[("digits-2, linear", "First nowcast, %"), ["seeds", "run"]].tolist() == [1, 1]
    page = tmp_path / "report.html"
    made = snakemake(tmp_path, "--report", page, "--", target, overlays=layers)
    assert made.code == 0, made.text
    text = page.read_text()
    assert "spikes.html" in text and "What the study spikes found." in text and "no interval of single seeds" in text
