import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nino.provenance import git_commit, hardware, provenance, versions
from nino.specs import ScheduleSpec


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.check_output(["git", "-C", str(folder), *identity, *arguments], text=True).strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("1")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_clean_checkout_gives_its_commit(checkout: Path) -> None:
    assert git_commit(checkout) == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}


def test_a_changed_file_makes_it_dirty_and_an_untracked_one_does_not(checkout: Path) -> None:
    (checkout / "b.txt").write_text("new")
    assert git_commit(checkout)["dirty"] is False
    (checkout / "a.txt").write_text("2")
    assert git_commit(checkout)["dirty"] is True


def test_results_made_again_do_not_make_it_dirty(checkout: Path) -> None:
    (checkout / "results").mkdir()
    (checkout / "results" / "table.csv").write_text("1")
    git(checkout, "add", "results")
    git(checkout, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "results")
    (checkout / "results" / "table.csv").write_text("2")
    assert git_commit(checkout)["dirty"] is False
    (checkout / "a.txt").write_text("2")
    assert git_commit(checkout)["dirty"] is True


def test_none_outside_a_checkout_and_in_an_untracked_folder_of_one(checkout: Path, tmp_path_factory) -> None:
    assert git_commit(tmp_path_factory.mktemp("bare")) is None
    (checkout / "site-packages").mkdir()
    (checkout / "site-packages" / "installed.py").write_text("")
    assert git_commit(checkout / "site-packages") is None


def test_none_without_git_and_before_the_first_commit(tmp_path: Path, checkout: Path, monkeypatch) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    git(fresh, "init", "-q")
    (fresh / "a.txt").write_text("1")
    git(fresh, "add", "a.txt")
    assert git_commit(fresh) is None
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert git_commit(checkout) is None


def test_inputs_carry_checksums_and_specs_their_values(tmp_path: Path) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(b"abc")
    record = provenance(data=file, schedule=ScheduleSpec(period=7), seed=3)
    assert record["inputs"]["data"] == {"path": file.as_posix(), "sha256": hashlib.sha256(b"abc").hexdigest()}
    assert record["inputs"]["schedule"]["period"] == 7
    assert record["inputs"]["seed"] == 3
    assert json.loads(json.dumps(record)) == record


def test_a_missing_input_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        provenance(data=tmp_path / "absent")


def test_versions_and_hardware_name_what_is_there() -> None:
    import torch

    assert versions()["torch"] == torch.__version__
    assert versions()["python"].split(".")[:2] == [str(part) for part in sys.version_info[:2]]
    machine = hardware()
    assert 1 <= machine["cores"] <= os.cpu_count()
    assert machine["memory_bytes"] > 2**26
    assert machine["cpu"] and len(machine["gpus"]) == torch.accelerator.device_count()


def test_asking_imports_no_torch() -> None:
    code = "import sys; from nino.provenance import provenance; provenance(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
