"""A model and a metric from files: trajectories, a fit, runs with a nowcast, tables and figures of them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from nino.files import sha256
from nino.trajectories import TrajectoryReader
from tests.docs.guide import read, write_files
from tests.workflow.driver import snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

WITH_A_FIT = """
trajectories:
  digits-shortcut: {models: 3, models_per_shard: 3, state_every: 5, steps: 40}
metatrain:
  tasks: [digits-shortcut]
  nowcasters: {nino: {kind: nino, model: {hidden: 8}}}
  recipe: {iterations: 4, window_stride: 5, windows_per_trajectory: 1, max_horizon: 5, context: 3, validation_models: 1}
evaluate:
  seeds: [1000]
  rows: [base, nino]
  schedule: {period: 15, context: 3, max_horizon: 5}
  methods:
    nino: {nowcaster: metatrained, source: nino}
  methods_per_job: 1
report: {resamples: 100}
"""


def test_from_a_file_to_a_row(tmp_path: Path) -> None:
    write_files(read("own-model.md"), tmp_path)
    (tmp_path / "fit.yaml").write_text(WITH_A_FIT, encoding="utf-8")
    overlays = (tmp_path / "mine.yaml", tmp_path / "fit.yaml")
    ended = snakemake(tmp_path, "--cores", 1, overlays=overlays)
    assert ended.code == 0, ended.text[-3000:]
    results = tmp_path / "results" / "mine"
    model, metric = ({"path": name, "sha256": sha256(tmp_path / name)} for name in ("my_model.py", "my_metric.py"))
    folder = results / "evaluate/digits-shortcut/nino/seed=1000"
    run = json.loads((folder / "run.json").read_text())
    assert run["status"] == "done" and run["metric"] == "my_metric.py:f1" and run["higher_is_better"] is True
    assert run["provenance"]["inputs"]["sources"] == {"task.model.name": model, "task.target.metric": metric}
    assert 0 < run["best"] <= 1 and len(pd.read_csv(folder / "nowcasts.csv")) == 6
    header = TrajectoryReader(results / "trajectories/digits-shortcut.h5").header
    assert header.sources == {"model.name": model, "target.metric": metric}
    assert "test f1 ≥ 0.6" in (results / "tables/table1.md").read_text()
    assert "digits-shortcut (f1)" in (results / "tables/fixed_steps.md").read_text()
    assert "test f1" in (results / "figures/curves-digits-shortcut.svg").read_text()
    done = snakemake(tmp_path, "-n", overlays=overlays)
    assert "Nothing to be done" in done.text, done.text
    (tmp_path / "my_model.py").write_text((tmp_path / "my_model.py").read_text() + "\n# another\n")
    jobs = snakemake(tmp_path, "-n", overlays=overlays).jobs
    assert {"collect", "metatrain", "evaluate"} <= jobs.keys() and "data" not in jobs, jobs
