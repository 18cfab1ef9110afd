from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nino.files import sha256
from nino.l2o.net import L2ONet, save_l2o
from nino.release.manifest import DEFINITIONS, ManifestError, seal, write_manifest
from nino.release.verify import verify_run as verify
from nino.report.build import write_tables
from nino.report.runs import Key
from nino.specs import ReportSpec

RUN = Key("digits-8", "nino", 1000)


@pytest.fixture
def released(results: Path, spec: ReportSpec) -> Path:
    write_tables(results, spec)
    write_manifest(results, spec)
    return results


def test_manifest_names_every_input_and_artifact(released: Path, spec: ReportSpec) -> None:
    manifest = json.loads((released / "manifest.json").read_text())
    assert manifest["seeds"] == [1000, 2000, 3000]
    assert len(manifest["runs"]) == 42
    assert len(manifest["runs"]["digits-8/nino/1000"]["files"]) == 3
    assert "tables/table2.csv" in manifest["artifacts"]
    assert manifest["seconds"]["train_seconds"] == pytest.approx(420.0)
    assert manifest["provenance"]["versions"]["python"]


def test_where_data_lie_is_one_machines(released: Path, spec: ReportSpec) -> None:
    path = write_manifest(released, spec, config={"run": "fake", "data_dir": "/somebody/s/data"})
    assert json.loads(path.read_text())["config"] == {"run": "fake"}


def test_untouched_run_verifies(released: Path) -> None:
    assert verify(released) == []


def test_several_partly_planned_methods_verify(results: Path, spec: ReportSpec) -> None:
    """A manifest sorts its keys; the notes of the tables do not follow them."""
    for method in ("wnn+", "nino"):
        shutil.rmtree(results / "evaluate" / "pydoc-2-16" / method)
    partly = replace(spec, only={"wnn+": ("digits-8",), "nino": ("digits-8",)}, resamples=50)
    write_tables(results, partly)
    write_manifest(results, partly)
    assert verify(results) == []


def test_a_learned_optimizer_is_a_fit_too(results: Path, spec: ReportSpec) -> None:
    extra = {"recipe": json.dumps({"iterations": 3}), "data": json.dumps("c0ffee")}
    save_l2o(L2ONet(hidden=4), results / "l2o" / "mine" / "best.safetensors", extra)
    (results / "l2o" / "mine" / "log.csv").write_text("iteration,seconds\n1,0.5\n2,0.25\n")
    write_tables(results, spec)
    manifest = json.loads(write_manifest(results, spec).read_text())
    fit = manifest["fits"]["l2o/mine"]
    assert (fit["recipe"], fit["data"], fit["seconds"]) == ({"iterations": 3}, "c0ffee", 0.75)
    assert "l2o/mine/best.safetensors" in manifest["checkpoints"]
    (results / "l2o" / "mine" / "best.safetensors").write_bytes(b"other")
    found = verify(results)
    assert found[0] == "l2o/mine/best.safetensors: changed since the manifest was written"
    assert len(found) == 2 and "l2o/mine/best.safetensors: not readable" in found[1]


def test_edited_number_is_found_with_its_line(released: Path) -> None:
    table = released / "tables" / "table2.md"
    table.write_text(table.read_text().replace("45.8", "55.8"))
    found = verify(released)
    assert [line.split(":")[0] for line in found] == ["tables/table2.md"] * 2
    assert "55.8" in found[1] and "45.8" in found[1]


def test_edited_log_is_found_with_what_it_changes(released: Path) -> None:
    folder = RUN.folder(released)
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(info | {"peak_memory_bytes": 10**10}))
    found = verify(released)
    assert any(line.startswith("evaluate/digits-8/nino/seed=1000/run.json: changed") for line in found)
    assert any(line.startswith("tables/timing.csv: not what the logs give") for line in found)
    assert not any("table2" in line for line in found)


def test_damaged_log_and_deleted_files_are_found(released: Path) -> None:
    (released / "tables" / "table1.tex").unlink()
    assert "tables/table1.tex: missing" in verify(released)
    (RUN.folder(released) / "log.csv").unlink()
    found = " ".join(verify(released))
    assert "log.csv: missing" in found and "evaluate them again" in found


def test_manifest_needs_tables(results: Path, spec: ReportSpec) -> None:
    with pytest.raises(ManifestError, match="nino tables"):
        write_manifest(results, spec)
    with pytest.raises(ManifestError, match="nino manifest"):
        verify(results)
    (results / "manifest.json").write_text("[]")
    with pytest.raises(ManifestError, match="of format 1 or 2"):
        verify(results)


def test_writing_twice_gives_the_same_bytes(released: Path, spec: ReportSpec) -> None:
    before = (released / "manifest.json").read_bytes()
    write_manifest(released, spec)
    assert (released / "manifest.json").read_bytes() == before


def test_a_table_of_an_earlier_definition_is_held_to_its_checksum(released: Path) -> None:
    """What a run says of its seconds does not become wrong because a later version says it differently."""
    timing, path = released / "tables" / "timing.csv", released / "manifest.json"
    timing.write_text(timing.read_text().replace("5,", "6,"))
    manifest = json.loads(path.read_text())
    assert manifest["definitions"] == DEFINITIONS
    manifest["artifacts"]["tables/timing.csv"] = sha256(timing)
    path.write_text(json.dumps(manifest | {"seal": seal(manifest)}))
    assert [sentence.split(":")[0] for sentence in verify(released)] == ["tables/timing.csv"]
    manifest["definitions"] = {}
    path.write_text(json.dumps(manifest | {"seal": seal(manifest)}))
    assert verify(released) == []
    for later in ("data", "definitions", "drawn_by", "seal"):  # what a manifest of format 1 lacks
        del manifest[later]
    path.write_text(json.dumps(manifest | {"format": 1}))
    assert verify(released) == []
    timing.write_text("")
    assert verify(released) == ["tables/timing.csv: changed since the manifest was written"]
