from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from nino.evaluate.run_folder import COPIES
from nino.files import sha256, write_json, write_text
from nino.release.leaderboard import leaderboard, write_leaderboard
from nino.release.manifest import ManifestError, read_manifest, seal, write_manifest
from nino.release.releases import LOGS_LIMIT, NAME, ReleaseError, release, releases, verify
from nino.report.build import write_tables
from nino.report.figures import write_captions
from nino.report.runs import Key, read_runs
from nino.specs import ReportSpec
from nino.specs.report import figures
from tests.report.conftest import curve, write_run

RUN = Key("digits-8", "nino", 1000)


COMMIT = {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False}


def draw(run: Path, spec: ReportSpec) -> None:
    """Captions, and files in place of the figures: what they show is no matter here."""
    write_captions(read_runs(run, spec), run / "figures")
    for name in (figure.name for figure in figures(spec, graphs=False)):
        for kind, begins in {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml "}.items():
            (run / "figures").mkdir(exist_ok=True)
            (run / "figures" / f"{name}.{kind}").write_bytes(begins + b"1 " + name.encode())


@pytest.fixture(scope="module", autouse=True)
def a_clean_checkout_that_draws_nothing_again() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nino.release.manifest.git_commit", lambda: COMMIT)
        patch.setattr("nino.release.verify.drawing", lambda: None)
        yield


@pytest.fixture(scope="module")
def built(complete: Path, spec: ReportSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with tables, figures and manifest, that no test changes."""
    folder = Path(shutil.copytree(complete, tmp_path_factory.mktemp("built") / "fake"))
    write_tables(folder, spec)
    draw(folder, spec)
    write_manifest(folder, spec)
    return folder


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "results" / "fake"))


def rebuild(run: Path, spec: ReportSpec) -> None:
    write_tables(run, spec)
    draw(run, spec)
    write_manifest(run, spec)


def faster(run: Path, spec: ReportSpec) -> None:
    """One seed of NiNo reaches its target much earlier than before."""
    steps, values = curve(spec.task(RUN.task), 4.0, RUN.seed)
    write_run(run, RUN, spec.task(RUN.task), steps, values)


def test_a_complete_run_is_frozen(run: Path) -> None:
    made = release(run, graphs=False)
    assert (made.folder.name, made.version) == ("fake-v1", 1)
    assert "The first version." in (made.folder / "CHANGES.md").read_text()
    for name in (
        "tables/table2.tex",
        "figures/profile.svg",
        "manifest.json",
        "evaluate/digits-8/nino/seed=1000/log.csv",
    ):
        assert (made.folder / name).read_bytes() == (run / name).read_bytes()
        assert made.record["files"][name] == sha256(run / name)
        assert (made.folder / name).stat().st_mode & 0o222 == 0, "files of a release are read-only"
    assert made.record["runs"] == {"done": 42} and made.record["logs_kept"]
    assert verify(made.folder) == []
    assert not list(run.parent.glob(".*"))


@pytest.mark.parametrize(
    "name", ["tables/table2.csv", "tables/summary.html", "figures/curves-digits-8.svg", "figures/profile.png"]
)
def test_a_run_without_a_table_or_figure_is_refused(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(ReleaseError, match=f"fake: {name}: missing"):
        release(run, graphs=False)
    assert releases(run.parent) == []


def test_pictures_of_graphs_belong_to_a_complete_run(run: Path) -> None:
    with pytest.raises(ReleaseError, match=r"graph-layers-digits-8\.svg: missing"):
        release(run)


def test_a_missing_run_is_refused(run: Path, spec: ReportSpec) -> None:
    shutil.rmtree(RUN.folder(run))
    rebuild(run, spec)
    with pytest.raises(ReleaseError, match="evaluate/digits-8/nino/1000: the run is missing"):
        release(run, graphs=False)


def test_a_run_that_diverged_is_a_result(run: Path, spec: ReportSpec) -> None:
    steps, values = curve(spec.task(RUN.task), 0.5, RUN.seed)
    write_run(run, RUN, spec.task(RUN.task), steps[:5], values[:5], status="diverged", reason="loss is NaN")
    rebuild(run, spec)
    assert release(run, graphs=False).record["runs"] == {"diverged": 1, "done": 41}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tables/table2.md", "tables/table2.md: changed since the manifest"),
        ("figures/profile.svg", "figures/profile.svg: changed since the manifest"),
        ("evaluate/digits-8/nino/seed=1000/log.csv", "log.csv: changed since the manifest"),
    ],
)
def test_an_altered_run_is_refused(run: Path, name: str, says: str) -> None:
    path = run / name
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(ReleaseError, match=says):
        release(run, graphs=False)
    assert releases(run.parent) == []


def test_tables_that_the_logs_do_not_give_are_refused(run: Path, spec: ReportSpec) -> None:
    faster(run, spec)
    write_manifest(run, spec)
    with pytest.raises(ReleaseError, match=r"tables/table2\.csv: not what the logs give"):
        release(run, graphs=False)


def test_without_a_manifest_there_is_nothing_to_release(run: Path) -> None:
    (run / "manifest.json").unlink()
    with pytest.raises(ManifestError, match="nino manifest"):
        release(run, graphs=False)


def test_the_next_version_says_what_moved(run: Path, spec: ReportSpec) -> None:
    first = release(run, graphs=False)
    kept = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    faster(run, spec)
    rebuild(run, spec)
    second = release(run, graphs=False)
    assert second.folder.name == "fake-v2" and second.record["previous"] == "fake-v1"
    assert {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()} == kept
    page = (second.folder / "CHANGES.md").read_text()
    old, new = (one.folder / "tables" / "table2.csv" for one in (first, second))
    column = old.read_text().splitlines()[0].split(",").index("steps_mean")
    values = [
        next(line for line in path.read_text().splitlines() if line.startswith("digits-8,nino")).split(",")[column]
        for path in (old, new)
    ]
    assert values[0] != values[1]
    assert f"| digits-8, nino | steps_mean | {values[0]} | {values[1]} |" in page
    assert "| digits-8, linear |" not in page
    assert "cells; seconds and memory belong to the machine" in page


def test_a_row_that_is_new_is_named(run: Path, spec: ReportSpec) -> None:
    small = dataclasses.replace(spec, methods=tuple(m for m in spec.methods if m.name != "wnn+"))
    rebuild(run, small)
    with pytest.raises(ReleaseError, match="digits-8/wnn\\+/seed=1000: a run that the report leaves out"):
        release(run, graphs=False)
    apart = {folder: run.parent / folder.parent.name for folder in run.glob("evaluate/*/wnn+")}
    for folder, place in apart.items():
        folder.rename(place)
    release(run, graphs=False)
    for folder, place in apart.items():
        place.rename(folder)
    rebuild(run, spec)
    page = (release(run, graphs=False).folder / "CHANGES.md").read_text()
    assert "| digits-8, wnn+ | the row | – | there |" in page


def test_the_same_run_is_not_released_twice(run: Path) -> None:
    release(run, graphs=False)
    with pytest.raises(ReleaseError, match="are those of fake-v1: nothing to release"):
        release(run, graphs=False)


def test_nothing_is_overwritten(run: Path) -> None:
    (run.parent / "fake-v1").mkdir()
    with pytest.raises(ReleaseError, match="fake-v1 is there and is no release"):
        release(run, graphs=False)
    assert list((run.parent / "fake-v1").iterdir()) == []


def test_a_release_is_no_run(run: Path) -> None:
    made = release(run, graphs=False)
    with pytest.raises(ReleaseError, match="is a release, which never changes"):
        release(made.folder, graphs=False)


def test_an_altered_release_is_found(run: Path, spec: ReportSpec) -> None:
    made = release(run, graphs=False)
    table, extra = made.folder / "tables" / "table2.md", made.folder / "tables" / "table3.md"
    table.chmod(0o644)
    table.write_text(table.read_text() + " ")
    extra.write_text("new")
    (made.folder / "figures" / "profile.svg").unlink()
    assert sorted(verify(made.folder)) == [
        "figures/profile.svg: missing",
        "tables/table2.md: altered since the release",
        "tables/table3.md: added since the release",
    ]
    faster(run, spec)
    rebuild(run, spec)
    with pytest.raises(ReleaseError, match="fake-v1: tables/table2.md: altered since the release"):
        release(run, graphs=False)
    with pytest.raises(ReleaseError, match="altered since the release"):
        leaderboard(run.parent)


def test_copies_for_jobs_that_are_tried_again_stay_out(run: Path) -> None:
    log = next(run.glob("evaluate/*/*/*/log.csv"))
    shutil.copytree(log.parent, log.parent / COPIES)
    assert not list(release(run, graphs=False).folder.rglob(COPIES))


def test_large_logs_stay_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LOGS_LIMIT == 16 * 2**20
    monkeypatch.setattr("nino.release.releases.LOGS_LIMIT", 1000)
    made = release(run, graphs=False)
    assert not made.record["logs_kept"] and not (made.folder / "evaluate").exists()
    assert verify(made.folder) == []


def test_a_release_says_of_its_runs_what_the_manifest_says(run: Path) -> None:
    """Whoever edits the record may leave no log unread, and put no release onto the leaderboard that has gaps."""
    made = release(run, graphs=False)
    for changed in ({"runs": {"done": 99}}, {"made_with": [COMMIT]}):
        (made.folder / NAME).chmod(0o644)
        write_json(made.folder / NAME, made.record | changed)
        assert [found.partition(" is ")[0] for found in verify(made.folder)] == [f"{NAME}: {next(iter(changed))}"]
    table = made.folder / "tables" / "table2.md"
    table.chmod(0o644)
    table.write_text(table.read_text().replace("| NiNo", "| NINO"))
    manifest = made.folder / "manifest.json"
    content = read_manifest(made.folder)
    content["artifacts"]["tables/table2.md"] = sha256(table)
    manifest.chmod(0o644)
    write_json(manifest, content | {"seal": seal(content)})
    files = {**made.record["files"], "tables/table2.md": sha256(table), "manifest.json": sha256(manifest)}
    write_json(made.folder / NAME, made.record | {"files": files, "logs_kept": False})
    assert verify(made.folder)[0].startswith("tables/table2.md: not what the logs give")


def test_a_renamed_or_foreign_release_is_refused(run: Path) -> None:
    made = release(run, graphs=False)
    moved = made.folder.rename(run.parent / "other-v1")
    with pytest.raises(ReleaseError, match="was released as fake-v1"):
        releases(run.parent)
    (moved / NAME).chmod(0o644)
    for text, says in (("{", "not readable as JSON"), (json.dumps({"format": 9}), "of format 1")):
        (moved / NAME).write_text(text)
        with pytest.raises(ReleaseError, match=says):
            verify(moved)


def test_the_leaderboard_holds_every_release(run: Path, spec: ReportSpec) -> None:
    with pytest.raises(ReleaseError, match="no release there"):
        leaderboard(run.parent)
    release(run, graphs=False)
    faster(run, spec)
    rebuild(run, spec)
    release(run, graphs=False)
    table = leaderboard(run.parent)
    assert table.data.release.tolist() == ["fake-v2"] * 6 + ["fake-v1"] * 6
    assert table.text.Release.tolist() == ["fake-v2", *[""] * 5, "fake-v1", *[""] * 5]
    assert table.rules == (6,)
    best = table.data[table.data.best]
    assert best.label.tolist() == ["NiNo", "NiNo"] and best.speedup_percent.is_monotonic_decreasing
    assert len(table.findings) == 1 and table.findings[0].startswith("fake-v2: NiNo took 51.")
    paths = write_leaderboard(run.parent)
    assert [path.name for path in paths] == ["leaderboard.csv", "leaderboard.md", "leaderboard.html"]
    assert "[fake-v1](fake-v1/tables/table2.md)" in paths[1].read_text()
    assert '<a href="fake-v2/tables/table2.html">fake-v2</a>' in paths[2].read_text()


def test_a_release_without_logs_stands_there_by_its_own_summary(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A best method that is slower is not said to be ahead; numbers of another definition stay out."""
    monkeypatch.setattr("nino.release.leaderboard.verify", lambda folder: [])
    monkeypatch.setattr("nino.release.releases.LOGS_LIMIT", 1000)
    made = release(run, graphs=False)
    summary = made.folder / "tables" / "summary.csv"
    table = pd.read_csv(summary).assign(speedup_percent=-12.5, interval_low=-14.0, interval_high=-11.0)
    summary.chmod(0o644)
    table.to_csv(summary, index=False)
    (finding,) = leaderboard(run.parent).findings
    assert finding.startswith("fake-v1: ") and finding.endswith(
        "the best method, took 12.5 % more steps than the baseline (−14.0 to −11.0)."
    )
    path = made.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.chmod(0o644)
    path.write_text(json.dumps(manifest | {"definitions": {"timing": 2}}))
    again = leaderboard(run.parent)
    assert again.findings == () and again.data.empty and "defined otherwise: fake-v1." in again.notes[-1]


def test_a_run_with_gaps_is_released_when_asked_for_and_leads_nothing(run: Path, spec: ReportSpec) -> None:
    shutil.rmtree(RUN.folder(run))
    rebuild(run, spec)
    with pytest.raises(ReleaseError, match="the run is missing"):
        release(run, graphs=False)
    made = release(run, graphs=False, incomplete=True)
    assert made.record["runs"]["missing"] == 1 and not made.complete and verify(made.folder) == []
    with pytest.raises(ReleaseError, match="no release there"):
        leaderboard(run.parent)


def test_a_study_that_trains_nothing_is_released_with_its_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "study"
    write_text(folder / "tables" / "costs.md", "| 1 |")
    outputs = {"tables/costs.md": sha256(folder / "tables" / "costs.md")}
    write_json(folder / "manifests" / "costs.json", {"study": "costs", "git": None, "outputs": outputs})
    made = release(folder)
    assert verify(made.folder) == [] and verify(folder) == []
    write_text(folder / "tables" / "costs.md", "| 2 |")
    assert verify(folder) == ["tables/costs.md: changed since the manifest was written"]
    with pytest.raises(ReleaseError, match="changed since"):
        release(folder)


def test_what_no_commit_holds_is_not_released(run: Path, spec: ReportSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    dirty = COMMIT | {"dirty": True}
    path = RUN.folder(run) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"provenance": {"git": dirty}}))
    rebuild(run, spec)
    says = r"seed=1000/run\.json: made by commit 0123456789 and changes that no commit holds \(commits of the run: "
    with pytest.raises(ReleaseError, match=says):
        release(run, graphs=False)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"provenance": {"git": COMMIT}}))
    monkeypatch.setattr("nino.release.manifest.git_commit", lambda: dirty)
    rebuild(run, spec)
    with pytest.raises(ReleaseError, match="fake: manifest.json: made by commit 0123456789 and changes"):
        release(run, graphs=False)
    assert releases(run.parent) == []
