"""What somebody may change in a run and hope that nobody sees: `nino verify` names each of it.

Whoever changes a manifest seals it again here, so that what is found is found by making it again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from nino.evaluate.run_folder import COLUMNS, CorruptRunError
from nino.files import sha256, write_json
from nino.release import verify as checks
from nino.release.manifest import seal, write_manifest
from nino.release.verify import verify_run
from nino.report.build import write_tables
from nino.report.comparable import MixedRunsError
from nino.report.figures import write_figures
from nino.report.study_results import write_study
from nino.specs import ReportSpec

RELEASED = Path(__file__).parents[2] / "results" / "topology-cpu-v1"
RUN = "evaluate/enwiki-3-24/nino/seed=1000"
ENTRY = "enwiki-3-24/nino/1000"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed run as it was before its release, with tables, figures and manifest of today."""
    folder = tmp_path_factory.mktemp("built") / "run"
    shutil.copytree(
        RELEASED, folder, ignore=shutil.ignore_patterns("tables", "figures", "*.md"), copy_function=shutil.copy
    )
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "RELEASE.json").unlink()
    config = json.loads((folder / "manifest.json").read_text())["config"]
    config["report"]["resamples"] = 50
    spec = spec_of(folder, resamples=50)
    write_tables(folder, spec)
    write_figures(folder, spec)
    write_study("topology", folder, spec, folder)
    write_manifest(folder, spec, config)
    return folder


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "run"))


def spec_of(folder: Path, **changes: Any) -> ReportSpec:
    return ReportSpec.from_dict(json.loads((folder / "manifest.json").read_text())["report"] | changes)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file; a manifest gets the seal that fits, and the checksum of whatever else was changed."""
    content = json.loads(path.read_text())
    change(content)
    if "seal" in content:
        content["seal"] = seal(content)
    write_json(path, content)


def listed_again(run: Path, *names: str) -> None:
    """Put the files' new checksums into the manifest."""

    def change(manifest: dict[str, Any]) -> None:
        parts = [manifest["artifacts"], manifest["data"], *(entry["files"] for entry in manifest["runs"].values())]
        for name in names:
            next(part for part in parts if name in part)[name] = sha256(run / name)

    edit(run / "manifest.json", change)


def changed_manifest(*path: str, value: Any) -> Callable[[Path], None]:
    def tamper(run: Path) -> None:
        def change(content: Any) -> None:
            for name in path[:-1]:
                content = content[int(name) if isinstance(content, list) else name]
            assert content[path[-1]] != value
            content[path[-1]] = value

        edit(run / "manifest.json", change)

    return tamper


def one_log_value(run: Path) -> None:
    path = run / RUN / "log.csv"
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[3] = str(float(cells[3]) - 1)
    path.write_text("\n".join([*lines[:2], ",".join(cells), *lines[3:]]) + "\n")


def a_table_cell(run: Path) -> None:
    path = run / "tables" / "table2.md"
    path.write_text(path.read_text().replace("| enwiki-3-24 |", "| enwiki-3-42 |"))
    listed_again(run, "tables/table2.md")


def a_study_table(run: Path) -> None:
    path = run / "tables" / "topology.md"
    path.write_text(path.read_text() + "better\n")
    listed_again(run, "tables/topology.md")


def text_for_a_picture(run: Path) -> None:
    (run / "figures" / "profile.png").write_text("not a picture")
    listed_again(run, "figures/profile.png")


def no_lead(manifest: dict[str, Any]) -> None:
    del manifest["made_with"]


def another_run(manifest: dict[str, Any]) -> None:
    manifest["runs"][f"{ENTRY}0"] = manifest["runs"][ENTRY] | {"files": {}}


def no_study(run: Path) -> None:
    for path in run.rglob("topology.*"):
        path.unlink()
    edit(
        run / "manifest.json",
        lambda m: m.update(artifacts={k: v for k, v in m["artifacts"].items() if "topology." not in k}),
    )


def a_caption(run: Path) -> None:
    (run / "figures" / "captions" / "curves-enwiki-3-24.rst").write_text("NiNo needs no step.\n")
    listed_again(run, "figures/captions/curves-enwiki-3-24.rst")


def another_seed(run: Path) -> None:
    shutil.copytree(run / RUN, run / RUN.replace("seed=1000", "seed=2000"))


def other_weights(run: Path) -> None:
    """A nowcaster that was fitted again after the run that it stands beside."""
    path = run / "metatrain" / "nino" / "best.safetensors"
    path.parent.mkdir(parents=True)
    save_file({"w": np.zeros(1)}, path)
    used = {"path": "results/run/metatrain/nino/best.safetensors", "sha256": "0" * 64}
    edit(run / RUN / "run.json", lambda result: result["provenance"]["inputs"].update(nowcaster=used))
    write_manifest(run, spec_of(run), json.loads((run / "manifest.json").read_text())["config"])


TAMPERING: dict[str, tuple[Callable[[Path], object], str]] = {
    "one value of a log": (one_log_value, f"{RUN}/log.csv: changed since"),
    "a run taken away": (lambda run: shutil.rmtree(run / RUN), f"{RUN}/run.json: missing"),
    "a status": (
        lambda run: edit(run / RUN / "run.json", lambda r: r.update(status="failed")),
        f"{RUN}/run.json: changed since",
    ),
    "a table's cell, its checksum too": (a_table_cell, "tables/table2.md: not what the logs give; line"),
    "a study's table, its checksum too": (a_study_table, "tables/topology.md: not what the logs give"),
    "a study taken away, from the manifest too": (no_study, "tables/topology.md: missing, though the logs give it"),
    "a file added": (
        lambda run: (run / "tables" / "table9.md").write_text("x"),
        "tables/table9.md: not in manifest.json",
    ),
    "a figure taken away": (lambda run: (run / "figures" / "profile.svg").unlink(), "figures/profile.svg: missing"),
    "a figure's caption, its checksum too": (a_caption, "figures/captions/curves-enwiki-3-24.rst: not what the logs"),
    "a run of a seed that the report leaves out": (another_seed, f"{RUN[:-4]}2000: a run that the report leaves out"),
    "weights that the runs were not made with": (
        other_weights,
        "metatrain/nino/best.safetensors: ",
    ),
    "text for a picture, its checksum too": (text_for_a_picture, "figures/profile.png: no PNG picture"),
    "learning rate of the config": (
        changed_manifest("config", "tasks", "enwiki-3-24", "recipe", "lr", value=0.1),
        "manifest.json: report.tasks.enwiki-3-24.recipe.lr is 0.001, its config gives 0.1",
    ),
    "a config of no run": (changed_manifest("config", "tasks", value={}), "manifest.json: config and report: "),
    "seeds": (changed_manifest("seeds", value=[1, 2, 3]), "manifest.json: seeds is [1, 2, 3], the runs give [1000]"),
    "seeds of the report": (
        changed_manifest("report", "seeds", value=[2000]),
        "manifest.json: report.seeds is [2000], its config gives [1000]",
    ),
    "the commit": (
        changed_manifest("made_with", "git", value=[{"commit": "f" * 40, "dirty": False}]),
        "manifest.json: made_with.git is [{'commit': 'ffff",
    ),
    "versions": (changed_manifest("made_with", "versions", value=[{"torch": "9"}]), "made_with.versions is [{'torch'"),
    "seconds": (changed_manifest("seconds", "train_seconds", value=1.0), "manifest.json: seconds.train_seconds is 1.0"),
    "name": (changed_manifest("run", value="other"), "manifest.json: run is 'other'"),
    "a run's status in the manifest": (
        changed_manifest("runs", ENTRY, "status", value="diverged"),
        f"manifest.json: runs.{ENTRY}.status is 'diverged', the run gives 'done'",
    ),
    "a run's inputs in the manifest": (
        changed_manifest("runs", ENTRY, "inputs", "seed", value=3),
        f"manifest.json: runs.{ENTRY}.inputs.seed is 3, the run gives 1000",
    ),
    "a run that was never made": (
        lambda run: edit(run / "manifest.json", another_run),
        f"manifest.json: runs.{ENTRY}0.status is 'done', the run gives None",
    ),
    "no files of a run": (changed_manifest("runs", ENTRY, "files", value={}), f"{RUN}/log.csv: not in manifest.json"),
    "no artifacts": (changed_manifest("artifacts", value={}), "figures/profile.png: not in manifest.json"),
    "no data records": (changed_manifest("data", value={}), "data/enwiki-3-24.json: not in manifest.json"),
    "a key taken away": (lambda run: edit(run / "manifest.json", no_lead), "manifest.json: lacks 'made_with'"),
    "a seal that does not fit": (
        lambda run: (run / "manifest.json").write_text(
            (run / "manifest.json").read_text().replace('"memory_bytes": ', '"memory_bytes": 1')
        ),
        "manifest.json: not what `nino manifest` wrote",
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_what_was_changed_is_named(run: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(checks, "drawing", lambda: None)  # what is drawn again is tested below
    tamper, says = TAMPERING[what]
    tamper(run)
    found = verify_run(run)
    assert any(says in sentence for sentence in found), found


def test_what_is_there_is_made_again_and_agrees_but_another_picture_does_not(run: Path) -> None:
    assert verify_run(run) == []
    shutil.copy(run / "figures" / "profile.png", run / "figures" / "curves-enwiki-3-24.png")
    listed_again(run, "figures/curves-enwiki-3-24.png")
    assert verify_run(run) == ["figures/curves-enwiki-3-24.png: not what the logs give"]


def test_of_an_earlier_wording_cells_are_compared_and_the_rest_is_named(run: Path) -> None:
    a_caption(run)
    path = run / "tables" / "table2.md"
    path.write_text("# Another title\n" + path.read_text())
    listed_again(run, "tables/table2.md")
    edit(run / "manifest.json", lambda manifest: manifest.pop("wording") and manifest["drawn_by"].update(cpu="other"))
    assert verify_run(run) == []
    assert [held.split(" (")[0] for held in checks.by_checksum(run)] == ["sentences", "figures"]
    a_table_cell(run)
    assert verify_run(run)[0].startswith("tables/table2.md: not what the logs give")


def test_the_data_records_checksum_is_that_of_the_runs(run: Path) -> None:
    edit(run / "data" / "enwiki-3-24.json", lambda record: record["data"].update(checksum="0" * 64))
    listed_again(run, "data/enwiki-3-24.json")
    found = verify_run(run)
    assert len(found) == 5 and all("data/enwiki-3-24.json has 0000000000" in sentence for sentence in found)


def of_another_recipe(run: Path) -> None:
    def change(result: dict[str, Any]) -> None:
        inputs = result["provenance"]["inputs"]
        inputs["task"]["recipe"] |= {"lr": 0.06, "batch_size": 8}
        inputs["task"]["target"]["value"] = 95.0
        inputs["data"] = "0" * 64

    edit(run / "evaluate/enwiki-3-24/base/seed=1000/run.json", change)


def forged_hit(run: Path) -> None:
    lines = (run / RUN / "log.csv").read_text().splitlines()
    cells = lines[3].split(",")
    early = ",".join([str(int(cells[0]) + 1), cells[1], "1.5", "1.5", *cells[4:]])
    (run / RUN / "log.csv").write_text("\n".join([*lines[:4], early, *lines[4:]]) + "\n")
    edit(run / RUN / "run.json", lambda result: result.update(step_at_target=int(cells[0]) + 1))


def a_better_record(run: Path) -> None:
    edit(run / RUN / "run.json", lambda result: result.update(best=1.5))


def fewer_seconds(run: Path) -> None:
    edit(run / RUN / "run.json", lambda result: result.update(train_seconds=2.0))


def a_divergence(run: Path) -> None:
    edit(run / RUN / "run.json", lambda result: result.update(status="diverged", reason="nan"))


def no_inputs(run: Path) -> None:
    def change(result: dict[str, Any]) -> None:
        del result["provenance"]["inputs"]
        files = {name: {"rows": 0, "sha256": sha256(run / RUN / name)} for name in COLUMNS}
        result.update(format=2, files=files)

    edit(run / RUN / "run.json", change)


def half_of_the_nowcasts(run: Path) -> None:
    lines = (run / RUN / "nowcasts.csv").read_text().splitlines(keepends=True)
    (run / RUN / "nowcasts.csv").write_text("".join(lines[: len(lines) // 2]))


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (of_another_recipe, r"base/seed=1000/run\.json: task\.recipe\.lr is 0\.06, the report's is 0\.001"),
        (forged_hit, r"log\.csv: step \d+, though evaluations are every \d+ steps"),
        (a_better_record, r"log\.csv: gives best [\d.]+, run\.json says 1\.5"),
        (fewer_seconds, r"log\.csv: gives train_seconds [\d.]+, run\.json says 2\.0"),
        (a_divergence, r"log\.csv: an evaluation of the last step, \d+, though run\.json says that the run diverged"),
        (no_inputs, r"run\.json: method is not recorded under provenance\.inputs"),
        (half_of_the_nowcasts, r"nowcasts\.csv: \d+ nowcasts, of the \d+ that the schedule asks for"),
    ],
)
def test_tables_and_manifest_are_not_made_of_such_runs(run: Path, tamper: Callable[[Path], None], says: str) -> None:
    """These runs are of a version that recorded no checksums."""
    kept = (run / "tables" / "table2.csv").read_bytes()
    tamper(run)
    for write in (write_tables, write_manifest):
        with pytest.raises((CorruptRunError, MixedRunsError), match=says):
            write(run, spec_of(run))
    assert (run / "tables" / "table2.csv").read_bytes() == kept
