"""``make gpu`` rehearsed without a GPU, where only the packages are that it may count on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.bare import STAND_INS
from nino.cli import app, main
from nino.files import sha256

ROOT = Path(__file__).parents[1]
PARTS = {name for _, name, _ in gpu.parts(small=True)}


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the whole run in small."""
    out = tmp_path_factory.mktemp("gpu")
    options = ["--device", "cpu", "--small", "--here", "--out", str(out)]
    command = [sys.executable, "-m", "tests.device.bare_machine", "benchmarks.gpu", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return out


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_every_part_runs_where_few_packages_are(rehearsed: Path) -> None:
    manifest = read(rehearsed / "manifest.json")
    assert set(manifest["stand_ins"]) == set(STAND_INS)
    assert manifest["parts"] == dict.fromkeys(sorted(PARTS), "done")
    assert set(manifest["files"]) == {"README.md", "plan.json", *(f"{name}.json" for name in PARTS)}
    assert all(sha256(rehearsed / name) == digest for name, digest in manifest["files"].items())
    assert manifest["versions"]["torch"] and manifest["hardware"]["cores"]
    page = (rehearsed / "README.md").read_text()
    assert all(f"| {name} |" in page for name in PARTS) and "FAILED" not in page
    nowcast = read(rehearsed / "nowcast-gpt2-1-8-float32-host.json")["result"]
    assert nowcast["median_seconds"] > 0 and 0 < nowcast["share_of_plain_products"] < 2
    assert read(rehearsed / "fit-fm-16.json")["result"]["iterations_per_second"] > 0
    assert read(rehearsed / "language.json")["result"]["steps_per_second"] > 0


def test_a_plan_is_fed_with_what_was_measured(
    rehearsed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def plan(file: Path) -> tuple[int, str, str]:
        small = str(ROOT / "tests" / "device" / "small.yaml")
        monkeypatch.setattr("sys.argv", ["nino", "plan", small, "--json", "--calibrations", str(file)])
        monkeypatch.setattr(app.logging, "basicConfig", lambda **_: None)
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    monkeypatch.chdir(ROOT)
    code, said, _ = plan(rehearsed / "plan.json")
    found, measured = json.loads(said), read(rehearsed / "plan.json")
    assert code == 0 and found["calibrations"] == measured["calibrations"] and found["fits"] == measured["fits"]
    rows = {(row["stage"], row["name"]): row["seconds"] for row in measured["rows"]}
    assert {(row["stage"], row["name"]): row["seconds"] for row in found["rows"]} == rows
    lacks = rehearsed.parent / "lacks.json"
    lacks.write_text(json.dumps(measured | {"calibrations": {}}))
    code, said, _ = plan(lacks)
    assert code == 0 and "the calibrations given hold none" in said
    lacks.write_text('{"device": "cuda"}')
    code, _, complaint = plan(lacks)
    assert code == 1 and "lacks.json holds no calibrations (KeyError" in complaint and "Traceback" not in complaint


def test_what_failed_is_tried_again_and_what_is_done_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def works(setting: gpu.Setting) -> dict[str, Any]:
        tried.append("works")
        return {"processor_seconds": 1}

    def fails(setting: gpu.Setting) -> dict[str, Any]:
        tried.append("fails")
        raise ArithmeticError("of this machine")

    def run(*more: str) -> int:
        monkeypatch.setattr("sys.argv", ["gpu", "--device", "cpu", "--small", "--here", "--out", str(tmp_path), *more])
        return gpu.main()

    made = [("a", "stage-works", works), ("b", "stage-fails", fails), ("c", "stage-later", works)]
    monkeypatch.setattr(gpu, "parts", lambda small: iter(made))
    assert run("--seconds", "0") == 0 and tried == []
    assert read(tmp_path / "manifest.json")["parts"] == {part: "left" for _, part, _ in made}
    assert run() == 1 and tried == ["works", "fails", "works"]
    assert "FAILED: ArithmeticError: of this machine" in (tmp_path / "README.md").read_text()
    made[1] = ("b", "stage-fails", works)
    assert run() == 0 and tried == ["works", "fails", "works", "works"]


def test_a_whole_run_wants_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for options, said in ((["--device", "cpu"], "torch finds no GPU here"), (["--device", "tpu"], "`device` (='tpu')")):
        monkeypatch.setattr("sys.argv", ["gpu", *options])
        with pytest.raises(SystemExit) as ended:
            gpu.main()
        assert ended.value.code == 2 and said in capsys.readouterr().err
