"""Every study in small, from data to its table and figure, by the commands that the workflow's rules call."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from nino.cli import app, main
from nino.config.experiment import Experiment
from nino.config.layout import Layout
from nino.config.load import load
from nino.config.resolve import resolve
from nino.specs import report as names
from nino.specs.studies import STUDIES, STUDY_TABLES, study_files

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workflow" / "configs" / "studies"
SMALL = sorted(path.name.removesuffix(".tiny.yaml") for path in FOLDER.glob("*.tiny.yaml"))
TABLES = {"ablations": "table3", "llama": "table4"}  # of those not named like their overlay
ON_THIS_MACHINE = "-cpu"  # overlays that shorten a study for CPU cores: small already


def test_every_study_has_one_in_small() -> None:
    whole = {path.name.removesuffix(".yaml") for path in FOLDER.glob("*.yaml") if ".tiny." not in path.name}
    assert {name for name in whole if not name.endswith(ON_THIS_MACHINE)} == set(SMALL)


class Commands:
    """The command line in this process, in a folder of its own."""

    def __init__(self, overlay: Path, patch: pytest.MonkeyPatch) -> None:
        self.config, self.patch = ("--config", overlay), patch

    def __call__(self, *arguments: object) -> None:
        self.patch.setattr("sys.argv", ["nino", *map(str, arguments)])
        self.patch.setattr(app.logging, "basicConfig", lambda **_: None)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (0, None), arguments

    def run(self, run: Experiment) -> None:
        """Everything that the workflow does for a run."""
        paths = Layout(run.run)
        for task in run.used:
            self("data", *self.config, "--task", task)
        for task in run.collected:
            for shard in run.shards(task):
                self("collect", *self.config, "--task", task, "--shard", shard)
            self("join", *self.config, "--task", task)
            self("datasheet", paths.dataset(task))
        for nowcaster in run.fitted:
            self("metatrain", *self.config, "--nowcaster", nowcaster)
            self("card", paths.checkpoint(nowcaster))
        seeds = [part for seed in run.seeds for part in ("--seed", seed)]
        for task in dict.fromkeys(task for task, _, _ in run.evaluations):
            methods = dict.fromkeys(method for each, method, _ in run.evaluations if each == task)
            asked = [part for method in methods for part in ("--method", method)]
            self("evaluate", *self.config, "--task", task, *asked, *seeds)
        for stage in ("tables", "figures", "manifest"):
            self(stage, *self.config)


@pytest.mark.usefixtures("unchecked")  # of shapes and types, which tests of the parts check
@pytest.mark.parametrize("name", SMALL)
def test_a_study_runs_from_nothing_to_its_table(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = FOLDER / f"{name}.tiny.yaml"
    shutil.copy(ROOT / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    run, table = resolve(load([overlay])), TABLES.get(name, name)
    results, nino = Path(Layout(run.run).root), Commands(overlay, monkeypatch)
    if name in STUDIES:
        nino(name, *nino.config)
        assert len(pd.read_csv(results / "tables" / f"{table}.csv")) > 1
        return
    nino.run(run)
    made = [json.loads(path.read_text()) for path in results.glob("evaluate/*/*/*/run.json")]
    assert len(made) == len(run.evaluations) and {each["status"] for each in made} == {"done"}
    for figure in (each.name for each in names.figures(run.report)):
        assert (results / "figures" / f"{figure}.svg").is_file()
    rows = pd.read_csv(results / "tables" / "table2.csv")
    assert set(rows.method) == set(run.methods) and (rows.seeds_reached > 0).any()
    if table in STUDY_TABLES:
        nino("study", table, *nino.config)
        assert all((results / file).is_file() for file in study_files(table))
        cells = pd.read_csv(results / "tables" / f"{table}.csv")
        measured = set(cells[cells.seeds > 0].method)
        assert len(measured - {"base"}) >= (1 if len(run.methods) == 2 else 2), "the table is of this run's methods"
    capsys.readouterr()
