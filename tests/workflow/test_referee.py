"""The rows that a referee asks for: planned as they are, and run in small."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from nino.config.load import load
from nino.config.resolve import resolve
from nino.release.verify import verify_run
from nino.report.comparable import MixedRunsError
from nino.report.runs import read_runs
from tests.workflow.driver import ROOT, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]
CONFIGS = ROOT / "workflow" / "configs"


def test_the_rows_are_planned(tmp_path: Path) -> None:
    layers = (CONFIGS / "cpu.yaml", CONFIGS / "referee.yaml")
    whole = snakemake(tmp_path, "--dry-run", overlays=layers)
    assert whole.code == 0 and whole.jobs["evaluate"] == 2 * 22 * 6, whole.text
    target = "results/referee/evaluate/fm-16/nino-schedule-free/seed=1000/run.json"
    one = snakemake(tmp_path, "--dry-run", "--", target, overlays=layers)
    assert one.code == 0 and one.jobs == {"data": 1, "evaluate": 1}, one.text


def test_every_kind_of_row_runs_from_nothing_to_tables_that_verify(tmp_path: Path) -> None:
    tiny = CONFIGS / "referee.tiny.yaml"
    done = snakemake(tmp_path, "--cores", 1, overlays=(tiny,))
    assert done.code == 0, done.text
    results, run = tmp_path / "results" / "referee-tiny", resolve(load([tiny], ROOT / "config.yaml"))
    records = {path.parts[-3]: json.loads(path.read_text()) for path in results.glob("evaluate/*/*/seed=1000/run.json")}
    assert set(records) == set(run.methods) and {record["status"] for record in records.values()} == {"done"}
    table = pd.read_csv(results / "tables" / "table2.csv").set_index("method")
    assert (table.seeds_run == 2).all() and len(table) == 12
    finals = {name: record["final"] for name, record in records.items()}
    assert len(set(finals.values())) > 6, "each row trains otherwise"
    notes = (results / "tables" / "table2.md").read_text()
    assert "Adam in Lookahead: in pytorch_optimizer:Lookahead (alpha 0.5, k 5)" in notes
    assert "Adam tuned: lr 0.016" in notes and "line fit, EMA: moving average of the weights, decay 0.8" in notes
    added = pd.read_csv(results / "tables" / "recipes.csv").query("measure == 'gain'").set_index("method")
    assert set(added.index) == {"linear", "linear-ema", "linear-schedule-free"} and (added.seeds == 2).all()
    assert list(verify_run(results)) == []
    record = results / "evaluate" / "digits-8" / "tuned" / "seed=1000" / "run.json"
    record.write_text(record.read_text().replace('"lr": 0.016', '"lr": 0.017'))
    with pytest.raises(
        MixedRunsError, match=r"tuned/seed=1000/run.json: method.recipe.lr is 0.017, the report's is 0.016"
    ):
        read_runs(results, run.report)
