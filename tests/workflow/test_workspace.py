"""Places to run from that are no checkout: a workspace of `nino init`, a module of another workflow, a copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nino.config.load import load, overlays_of
from nino.config.resolve import resolve
from nino.workflow import FOLDER, workspace_file
from nino.workflow.workspace import lay_out
from tests.workflow import preloaded
from tests.workflow.driver import ROOT, TINY, Ended, Finished, with_preloaded_jobs

SMOKE = "workflow/configs/smoke.yaml"
IN_A_RUN = {"tables": 1, "figures": 1, "manifest": 1, "all": 1}


def run(folder: Path, *arguments: str) -> Ended:
    """Snakemake as its user starts it: in a folder, with nothing said of where the workflow is."""
    return Ended(*preloaded.call("snakemake", list(arguments), folder, with_preloaded_jobs()))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lay_out(tmp_path / "lab")
    monkeypatch.chdir(tmp_path / "lab")
    return tmp_path / "lab"


def test_a_checkout_is_a_workspace(lab: Path) -> None:
    """Every file of a workspace is in a checkout, under the same name, and there is one copy of what can be long."""
    for path in lab.rglob("*.yaml"):
        there = ROOT / path.relative_to(lab)
        assert there.read_bytes() == path.read_bytes() and there.resolve().is_relative_to(FOLDER)
    packaged = (FOLDER / "Snakefile").read_bytes()
    for top in (lab / "Snakefile", ROOT / "Snakefile", ROOT / "workflow" / "Snakefile"):
        assert top.read_bytes() == packaged


def test_nothing_is_overwritten(lab: Path) -> None:
    assert lay_out(lab) == []
    overlay = lab / SMOKE
    overlay.unlink()
    (lab / "config.yaml").write_text("run: mine\n")
    with pytest.raises(FileExistsError, match="config.yaml: is there and says something else"):
        lay_out(lab)
    assert (lab / "config.yaml").read_text() == "run: mine\n" and not overlay.exists()
    (lab / "config.yaml").unlink()
    assert lay_out(lab) == [lab / "config.yaml", overlay]


def test_configs_of_a_workspace_count_and_the_packages_where_there_are_none(lab: Path, tmp_path: Path) -> None:
    tiny = [TINY]
    assert load(tiny) == load(tiny, FOLDER / "config.yaml")
    assert overlays_of(load([Path(SMOKE)]), [Path(SMOKE)]) == (SMOKE,)
    edited = lab / "config.yaml"
    edited.write_text(edited.read_text().replace("run: paper", "run: mine"))
    assert resolve(load()).run == "mine"
    edited.unlink()
    assert resolve(load()).run == "paper"
    assert overlays_of(load([Path(SMOKE)]), [Path(SMOKE)]) is None, "the next version's may differ"
    assert workspace_file("slurm/site.yaml", tmp_path, lab) == lab / "slurm" / "site.yaml"


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_snakemake_works_in_a_workspace(lab: Path) -> None:
    site = lab / "slurm" / "site.yaml"
    for profile in ((), ("--profile", "slurm")):
        planned = run(lab, "--dry-run", "--configfile", SMOKE, *profile)
        assert planned.code == 0 and planned.jobs["metatrain"] == 2 and planned.jobs["all"] == 1, planned.text
    site.write_text(site.read_text().replace("max_minutes", "max_minuts"))
    refused = run(lab, "--dry-run", "--configfile", SMOKE)
    assert refused.code != 0 and "site.yaml: max_minuts: unknown key" in refused.text


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
@pytest.mark.parametrize("prefix", ["", "nino_"])
def test_another_workflow_can_use_it_as_a_module(tmp_path: Path, prefix: str) -> None:
    name = f" as {prefix}*" if prefix else ""
    (tmp_path / "Snakefile").write_text(
        f"configfile: {str(ROOT / 'config' / 'config.yaml')!r}\n"
        f"module nino:\n    snakefile: {str(ROOT / 'workflow' / 'Snakefile')!r}\n    config: config\n"
        f"use rule * from nino{name}\n"
    )
    planned = run(tmp_path, "--dry-run", "--configfile", str(TINY))
    assert planned.code == 0, planned.text
    assert planned.jobs[f"{prefix}evaluate"] == 6 and planned.jobs[f"{prefix}all"] == 1


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_a_deployed_copy_has_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What snakedeploy makes: a copy of config/, and a workflow/Snakefile that uses this one as a module."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow" / "Snakefile").write_text(
        'configfile: "config/config.yaml"\n'
        f"module nino:\n    snakefile: {str(ROOT / 'workflow' / 'Snakefile')!r}\n    config: config\n"
        "use rule * from nino\n"
    )
    planned = run(tmp_path, "--dry-run", "--configfile", "config/overlays/smoke.yaml", "--profile", "config/slurm")
    assert planned.code == 0 and planned.jobs["data"] == 4, planned.text
    monkeypatch.chdir(tmp_path)
    edited = tmp_path / "config" / "config.yaml"
    edited.write_text(edited.read_text().replace("run: paper", "run: mine"))
    assert resolve(load()).run == "mine"


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_a_finished_run_stays_finished_wherever_the_rules_lie(finished: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder, symlinks=True)
    lay_out(tmp_path / "lab")
    where = ("--snakefile", str(tmp_path / "lab" / "Snakefile"), "--configfile", str(TINY))
    again = run(folder, *where, "--dry-run")
    assert again.code == 0 and "Nothing to be done" in again.text, again.text
    copy = tmp_path / "code"
    shutil.copytree(ROOT / "nino", copy / "nino", ignore=shutil.ignore_patterns("__pycache__"))
    moved = subprocess.run(
        [sys.executable, "-m", "snakemake", *where, "--directory", str(folder), "--dry-run"],
        env={**os.environ, "PYTHONPATH": str(copy)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "Nothing to be done" in moved.stdout + moved.stderr, moved.stderr
    # a workspace around it: its report names the command line now, nothing is trained again
    lay_out(folder)
    planned = run(folder, "--configfile", str(TINY), "--dry-run")
    assert planned.code == 0 and planned.jobs == IN_A_RUN, planned.text


def test_the_catalog_finds_what_it_looks_for() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert usage["software-stack-deployment"]["conda"] is True and usage["report"] is True
    assert "nino config keys" in (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert "snakemake" in readme and "workflow" in readme


@pytest.mark.workflow
def test_the_driver_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    """The whole of Snakemake's own process, not the lines of the workflow alone."""
    code = (
        "import sys; from snakemake.cli import main\n"
        "try: main()\n"
        "finally: print('heavy:', sorted({'torch', 'transformers', 'scipy', 'h5py'} & {*sys.modules}))"
    )
    arguments = ["--dry-run", "--snakefile", str(ROOT / "Snakefile"), "--configfile", str(TINY), "--quiet", "all"]
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--profile", str(ROOT / "slurm"), "--directory", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert ended.stdout.splitlines()[-1] == "heavy: []", ended.stderr
