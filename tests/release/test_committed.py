"""What git keeps of runs are releases: no run writes to them, and their tables are what their logs give."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nino.cli.app import app
from nino.config.load import load
from nino.release.releases import verify

RESULTS = Path(__file__).parents[2] / "results"
RUNS = sorted(path.parent.name for path in RESULTS.glob("*-v*/RELEASE.json"))


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results as a fresh clone has them: nothing but what is committed. Where git is not there, those here."""
    clone = tmp_path_factory.mktemp("clone") / "nino"
    done = subprocess.run(["git", "clone", "-q", "--shared", RESULTS.parent, clone], capture_output=True, text=True)
    return clone / "results" if done.returncode == 0 else RESULTS


@pytest.mark.parametrize("run", RUNS)
def test_a_fresh_clone_verifies_every_committed_run(cloned: Path, run: str) -> None:
    assert verify(cloned / run) == []


def test_one_command_verifies_them_all(cloned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nino verify results/*`: files beside the runs' folders are left out."""
    monkeypatch.setattr("nino.release.releases.verify", lambda folder: ["x: missing"] * (folder.name == "cpu-v1"))
    done = CliRunner().invoke(app, ["verify", *map(str, sorted(cloned.glob("*")))])
    agreeing = [f"{cloned / run}: everything agrees" for run in RUNS if run != "cpu-v1"]
    assert done.exit_code == 1 and set(agreeing) < set(done.output.splitlines())
    assert f"{cloned / 'cpu-v1'}: x: missing" in done.output


@pytest.mark.parametrize("command", [["tables"], ["figures"], ["manifest"], ["study", "table3"]])
def test_no_command_writes_to_a_release(command: list[str]) -> None:
    config = RESULTS.parent / "workflow" / "configs" / "cpu.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(RESULTS.parent)
        done = CliRunner().invoke(app, [*command, "--config", str(config), "--results", str(RESULTS / "cpu-v1")])
    assert isinstance(done.exception, ValueError) and "cpu-v1 is a release, which never changes" in str(done.exception)


@pytest.mark.parametrize("command", [["tables"], ["figures"], ["study", "table3"]])
def test_no_command_writes_into_a_release_by_another_folder(command: list[str], tmp_path: Path) -> None:
    config = RESULTS.parent / "workflow" / "configs" / "cpu.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(RESULTS.parent)
        (tmp_path / "run").mkdir()
        where = ["--results", str(tmp_path / "run"), "--out", str(RESULTS / "cpu-v1" / "tables")]
        done = CliRunner().invoke(app, [*command, "--config", str(config), *where])
    assert isinstance(done.exception, ValueError) and "cpu-v1 is a release, which never changes" in str(done.exception)


def test_what_is_held_to_checksums_alone_is_said() -> None:
    done = CliRunner().invoke(app, ["verify", str(RESULTS / "permutation-v1")])
    assert "held to checksums alone: all of it (studies that train nothing" in done.output


def test_there_are_such_runs() -> None:
    assert {"cpu-v1", "overhead-cpu-v1", "permutation-v1", "smoke-v1"} <= set(RUNS)


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", "-C", str(RESULTS), *arguments], capture_output=True, text=True)
    if done.returncode == 128:
        pytest.skip("not a checkout")
    return done.stdout.splitlines()


def test_git_keeps_nothing_that_a_run_writes() -> None:
    places = {line.split("/")[0] for line in git("ls-files")}
    assert places - {"leaderboard.csv", "leaderboard.html", "leaderboard.md"} == set(RUNS)


@pytest.mark.parametrize(
    "config", sorted((RESULTS.parent / "workflow" / "configs").rglob("*.yaml")), ids=lambda p: p.stem
)
def test_git_ignores_what_a_run_writes(config: Path) -> None:
    run = load([config])["run"]
    assert git(
        "check-ignore", f"{run}/tables/table2.md", f"{run}/evaluate/a/b/seed=1/run.json", f"{run}/manifest.json"
    )[2:]
