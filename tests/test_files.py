"""Files: a disk that is full (a small tmpfs), and what records call them."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nino.files import path_below, replacing, require_space, require_whole_archive, sha256, sums_below, write_text

SIZE = 64 * 1024
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KB; skips where only root may mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small disk: only root may mount a tmpfs")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(1024))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_full_disk_keeps_what_was_there(small: Path) -> None:
    write_text(small / "table.csv", "old")
    with pytest.raises(OSError, match="the disk is full.*make room.*table.csv") as refused:
        write_text(small / "table.csv", "new" * SIZE)
    assert refused.value.errno == errno.ENOSPC
    assert (small / "table.csv").read_text() == "old" and left(small) == ["table.csv"]


def test_a_checkpoint_that_does_not_fit(small: Path) -> None:
    with pytest.raises(OSError, match="the disk is full"), replacing(small / "weights.pt") as temporary:
        torch.save(torch.zeros(SIZE), temporary)
    assert left(small) == []


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    for error in (RuntimeError("inline_container: broken"), PermissionError("no")):
        with pytest.raises(type(error), match=str(error)), replacing(tmp_path / "file"):
            raise error


def test_what_cannot_fit_is_not_begun(small: Path) -> None:
    require_space(small / "new" / "shard.h5", SIZE // 2)
    with pytest.raises(OSError, match="131,072 bytes are needed, 65,536 are free.*shard.h5"):
        require_space(small / "new" / "shard.h5", 2 * SIZE)


def test_no_flipped_bit_of_an_archive_passes(tmp_path: Path) -> None:
    path, tensor = tmp_path / "state.pt", torch.arange(2000.0)
    torch.save({"tensor": tensor, "steps": [1, 2]}, path)
    require_whole_archive(path)
    data, refused = path.read_bytes(), 0
    for place in range(0, len(data), 37):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        try:
            require_whole_archive(path)
            found = torch.load(path, weights_only=True)
        except (ValueError, RuntimeError):
            refused += 1
        else:  # what was damaged is read by nobody
            assert torch.equal(found["tensor"], tensor) and found["steps"] == [1, 2]
    assert refused > 200
    path.write_text("no archive")
    require_whole_archive(path)


@pytest.mark.parametrize("stage", ["collect", "evaluate"])
def test_a_stage_on_a_full_disk_says_so_and_leaves_nothing_to_read(small: Path, stage: str) -> None:
    fill(small)
    job = {
        "collect": ["--shard", "0", "--task", "digits-2", "--out", small / "shard.h5"],
        "evaluate": ["--seed", "1000", "--task", "digits-2", "--method", "base", "--out", small],
    }
    config = ["--config", "tests/workflow/tiny.yaml"]
    command = [sys.executable, "-m", "nino", "--quiet", stage, *config, *map(str, job[stage])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1, json.dumps([done.stdout, done.stderr])
    assert done.stderr.startswith("nino: error: [Errno 28] the disk is ") and "Traceback" not in done.stderr
    assert left(small) == ["ballast"]


def test_files_of_one_name_in_two_folders_have_a_sum_each(tmp_path: Path) -> None:
    paths = [tmp_path / "train" / "data.txt", tmp_path / "test" / "data.txt"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(path.parent.name)
    assert sums_below(tmp_path, [*paths, paths[0]]) == {
        "train/data.txt": sha256(paths[0]),
        "test/data.txt": sha256(paths[1]),
    }
    assert path_below(paths[0], paths[0]) == "data.txt"  # `data.path` may name a file
    assert path_below(paths[0].parent, paths[1]) == paths[1].as_posix()
