from __future__ import annotations

import json
from pathlib import Path

from nino.config.load import load
from nino.config.resolve import resolve
from nino.config.units import write_units
from tests.cli.conftest import Nino


def test_a_study_runs_from_its_spec_file_and_prints_its_table(workplace: Path, nino: Nino) -> None:
    write_units(resolve(load([workplace / "tiny.yaml"], workplace / "config.yaml")), workplace)
    folder = workplace / "results" / "tiny"
    done = nino("permutation", folder / "specs" / "studies" / "permutation.json", "--out", folder)
    assert done.code == 0, done.err
    assert "both ways, no positions" in done.out
    record = json.loads((folder / "manifests" / "permutation.json").read_text())
    assert record["inputs"]["spec"]["permutations"] == 40


def test_a_spec_file_needs_a_folder(workplace: Path, nino: Nino) -> None:
    done = nino("overhead", "spec.json")
    assert done.code == 2
    assert "SPEC goes with --out" in done.err
