"""What a run of the whole workflow does, and what another one after it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from nino.release.releases import verify
from tests.workflow.driver import RUN, TINY, Finished, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

EVERYTHING = {
    "data": 1, "collect": 2, "join": 1, "datasheet": 1, "metatrain": 1, "card": 1, "evaluate": 6,
    "tables": 1, "figures": 1, "manifest": 1, "all": 1,
}  # fmt: skip
RESULTS = {"tables": 1, "figures": 1, "manifest": 1, "all": 1}


def overlay(folder: Path, values: object) -> tuple[Path, Path]:
    path = folder / "overlay.yaml"
    path.write_text(yaml.safe_dump(values))
    return TINY, path


def test_a_killed_run_is_finished_by_the_next(finished: Finished) -> None:
    assert finished.after_kill is not None and finished.after_kill.code == 0
    assert finished.again is not None
    jobs = finished.again.jobs
    # two jobs ran when it was killed: their outputs do not count, though they may look whole
    assert len(finished.done_when_killed) >= 3 and 6 - len(finished.done_when_killed) <= jobs["evaluate"] <= 5
    assert "data" not in jobs
    manifest = json.loads(finished.path("manifest.json").read_text())
    assert len(manifest["runs"]) == 6


def test_a_second_driver_is_refused(finished: Finished) -> None:
    assert finished.while_running is not None and finished.while_running.code != 0
    assert "cannot be locked" in finished.while_running.text


def test_everything_asked_for_is_there(finished: Finished) -> None:
    for name in ("table1.md", "table2.csv", "table2.tex", "table2.md"):
        assert finished.path("tables", name).stat().st_size
    assert finished.path("figures", "curves-digits-2.svg").stat().st_size
    assert "digits-2" in finished.path("trajectories", "digits-2.md").read_text()
    assert not [path for path in finished.path().rglob("*") if path.suffix == ".part"]


def test_the_manifest_says_where_everything_comes_from(finished: Finished) -> None:
    manifest = json.loads(finished.path("manifest.json").read_text())
    data = json.loads(finished.path("data", "digits-2.json").read_text())["data"]["checksum"]
    trajectories, fit = manifest["trajectories"]["digits-2"], manifest["fits"]["nino"]
    assert trajectories["data_checksum"] == data and trajectories["seeds"] == [0, 1, 2]
    assert fit["trajectories"]["digits-2"]["data_checksum"] == data
    assert fit["metatrain"]["iterations"] == 6 and fit["seconds"] > 0
    for made in (fit, *(json.loads(p.read_text())["provenance"] for p in finished.path("evaluate").rglob("run.json"))):
        assert made["versions"]["torch"] and made["hardware"]["cpu"] and made["git"]["commit"]
    assert manifest["checkpoints"].keys() == {"metatrain/nino/best.safetensors"}
    assert manifest["config"]["tasks"]["digits-2"]["recipe"]["lr"] == 0.01 and manifest["seeds"] == [1000, 2000]
    assert verify(finished.path()) == []


def test_runs_of_one_job(tmp_path: Path) -> None:
    """Two of three seeds of two methods share a job; where one run is missing, the others are kept as they are."""
    together = {
        "seeds": [1000, 2000, 3000], "seeds_per_job": 2, "methods_per_job": 2, "members_per_job": 2,
        "rows": ["base", "linear", "identity"],
    }  # fmt: skip
    layers = overlay(tmp_path, {"evaluate": together})
    folder = RUN / "evaluate" / "digits-2"
    runs = [folder / method / f"seed={seed}" / "run.json" for method in together["rows"] for seed in together["seeds"]]
    done = snakemake(tmp_path, "--cores", 2, *runs[:6], runs[8], overlays=layers)
    jobs = {"data": 1, "evaluate_0": 1, "evaluate_1": 1, "evaluate": 1}
    assert done.code == 0 and done.jobs == jobs, done.text
    ours = [json.loads((tmp_path / path).read_text()) for path in runs[:6]]
    assert [(run["seed"], run["members_at_once"]) for run in ours] == 2 * [(1000, 2), (2000, 2), (3000, 1)]
    assert (tmp_path / RUN / "logs" / "evaluate" / "digits-2" / "base-linear" / "seeds=1000-2000.tsv").is_file()
    second, *others = (tmp_path / runs[i] for i in (1, 0, 3, 4))
    second.unlink()
    kept = [path.read_bytes() for path in others]
    again = snakemake(tmp_path, "--cores", 2, *runs[:6], overlays=layers)
    assert again.code == 0 and again.jobs == {"evaluate_0": 1}, again.text
    assert [path.read_bytes() for path in others] == kept and second.is_file()


def test_a_second_run_does_nothing(finished: Finished) -> None:
    again = snakemake(finished.folder, "--cores", 2)
    assert again.code == 0 and "Nothing to be done" in again.text


def test_a_deleted_run_is_redone_alone(finished: Finished) -> None:
    gone = finished.path("evaluate", "digits-2", "linear", "seed=2000", "run.json")
    others = {p: p.stat().st_mtime_ns for p in finished.path("evaluate").rglob("run.json") if p != gone}
    before = finished.path("tables", "table2.csv").read_bytes()
    gone.unlink()
    again = snakemake(finished.folder, "--cores", 2)
    assert again.code == 0 and again.jobs == {"evaluate": 1, **RESULTS}
    assert gone.exists() and {p: p.stat().st_mtime_ns for p in others} == others
    assert finished.path("tables", "table2.csv").read_bytes() == before


def test_one_table_can_be_asked_for(finished: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder, symlinks=True)
    gone = folder / RUN / "tables" / "table2.md"
    gone.unlink()
    made = snakemake(folder, "--cores", 1, "--", RUN / "tables" / "table2.md")
    assert made.code == 0 and made.jobs == {"tables": 1}
    assert gone.read_bytes() == finished.path("tables", "table2.md").read_bytes()


def test_a_fresh_clone_runs_everything_though_its_tables_are_there(finished: Finished, tmp_path: Path) -> None:
    for part in ("tables", "figures"):
        shutil.copytree(finished.path(part), tmp_path / RUN / part)
    shutil.copy(finished.path("manifest.json"), tmp_path / RUN)
    planned = snakemake(tmp_path, "--dry-run")
    assert planned.code == 0 and planned.jobs == EVERYTHING


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ({"evaluate": {"seeds": [1000, 2000, 3000]}}, {"evaluate": 3, **RESULTS}),
        ({"evaluate": {"methods": {"linear": {"label": "Line"}}}}, {"evaluate": 2, **RESULTS}),
        ({"evaluate": {"methods": {"linear": None}}}, RESULTS),
        ({"report": {"confidence": 0.9}}, RESULTS),
        ({"metatrain": {"recipe": {"lr": 0.01}}}, {"metatrain": 1, "card": 1, "evaluate": 2, **RESULTS}),
        ({"trajectories": {"digits-2": {"state_every": 1}}}, EVERYTHING | {"evaluate": 2, "data": 0}),
        ({"tasks": {"digits-2": {"recipe": {"lr": 0.02}}}}, EVERYTHING),
    ],
    ids=["seed", "label", "method", "report", "metatrain", "trajectories", "task"],
)
def test_a_change_redoes_what_depends_on_it(finished: Finished, tmp_path: Path, change: object, jobs: object) -> None:
    assert isinstance(jobs, dict)
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder, symlinks=True)
    planned = snakemake(folder, "--dry-run", overlays=overlay(tmp_path, change))
    assert planned.code == 0 and planned.jobs == {rule: count for rule, count in jobs.items() if count}


def test_the_report_holds_tables_and_figures(finished: Finished, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    made = snakemake(finished.folder, "--report", page)
    assert made.code == 0, made.text
    text = page.read_text()
    assert "table2.html" in text and "curves-digits-2.svg" in text and "datasheet" in text.lower()
