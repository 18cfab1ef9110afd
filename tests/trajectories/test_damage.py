"""Files damaged for real: each is refused by its name, with the reason."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from nino.trajectories import Header, TrajectoryFileError, TrajectoryReader, join_shards, writing_shard

Make = Callable[..., Path]


def _chunk_offset(path: Path, dataset: str, index: int) -> int:
    with h5py.File(path) as file:
        return int(file[dataset].id.get_chunk_info(index).byte_offset)


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x55
    path.write_bytes(bytes(data))


def test_flipped_byte_in_a_state(make_shard: Make, tmp_path: Path) -> None:
    path = make_shard(0)
    _flip(path, _chunk_offset(path, "params", 8) + 3)  # trajectory 1, state 2
    reader = TrajectoryReader(path)
    assert len(reader.window(0, 0, 1, 6)) == 6  # the other network is fine
    with pytest.raises(TrajectoryFileError, match=r"shard=0.h5: params, chunk \(1, 2, 0\): does not match its check"):
        reader.window(1, 0, 1, 6)
    (fault,) = reader.verify(progress=False)
    assert (fault.file, fault.dataset, fault.chunk) == (path, "params", (1, 2, 0))
    with pytest.raises(TrajectoryFileError, match=r"shard=0.h5: params, chunk \(1, 2, 0\).*1 such chunks"):
        join_shards([path, make_shard(1), make_shard(2)], tmp_path / "joined.h5", progress=False)
    assert not (tmp_path / "joined.h5").exists()


def test_a_zeroed_block_of_the_disk(make_shard: Make) -> None:
    """HDF5's checksum of a chunk of zeros is zero: it lets a chunk pass that was zeroed with its checksum."""
    path = make_shard(0)
    with h5py.File(path) as file:
        chunk = file["params"].id.get_chunk_info(8)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(bytes(data))
    with h5py.File(path) as file:
        assert not file["params"][1, 2].any()
    reader = TrajectoryReader(path)
    assert len(reader.window(0, 0, 1, 6)) == 6
    with pytest.raises(TrajectoryFileError, match=r"shard=0.h5: params, chunk \(1, 2, 0\).*CRC-32; collect it again"):
        reader.states(1, [2])
    assert [fault.chunk for fault in reader.verify(progress=False)] == [(1, 2, 0)]


def test_a_shard_of_an_earlier_version_reads_without_crcs(make_shard: Make, expected: Callable[[int], object]) -> None:
    path = make_shard(0)
    with h5py.File(path, "r+") as file:
        del file["crc"]
    reader = TrajectoryReader(path)
    assert reader.verify(progress=False) == []
    np.testing.assert_array_equal(reader.states(0, range(6)), expected(100))


@pytest.mark.parametrize("table", ["seed", "valid", "step", "crc", "metrics/train_loss"])
def test_flipped_byte_in_a_table(make_shard: Make, table: str) -> None:
    path = make_shard(0)
    _flip(path, _chunk_offset(path, table, 0) + 1)
    with pytest.raises(TrajectoryFileError, match="shard=0.h5: damaged header or table"):
        TrajectoryReader(path)


def test_every_byte_of_the_header_counts(make_shard: Make, tmp_path: Path) -> None:
    """A byte flipped anywhere is refused when opened or found by verify, or changes nothing that is read."""
    path = make_shard(0)
    whole = TrajectoryReader(path)
    states = [whole.window(i, 0, 1, 6) for i in range(2)]
    data = path.read_bytes()
    damaged = tmp_path / "damaged.h5"
    rng = np.random.default_rng(0)
    refused = 0
    for offset in rng.choice(len(data), 300, replace=False):
        copy = bytearray(data)
        copy[offset] ^= 0x10
        damaged.write_bytes(bytes(copy))
        try:
            reader = TrajectoryReader(damaged)
            if reader.verify(progress=False):
                refused += 1
                continue
        except TrajectoryFileError:
            refused += 1
            continue
        assert reader.header == whole.header
        assert reader.seeds.tolist() == whole.seeds.tolist()
        for i in range(2):
            np.testing.assert_array_equal(reader.window(i, 0, 1, 6), states[i])
    assert refused > 0


@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.9, -1])
def test_truncated(make_shard: Make, keep: float) -> None:
    path = make_shard(0)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(TrajectoryFileError, match="shard=0.h5: not a whole HDF5 file"):
        TrajectoryReader(path)


def test_foreign_files(tmp_path: Path) -> None:
    text = tmp_path / "notes.h5"
    text.write_text("not HDF5 at all\n" * 100)
    with pytest.raises(TrajectoryFileError, match="notes.h5: not a whole HDF5 file"):
        TrajectoryReader(text)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["params"] = np.zeros(3)
    with pytest.raises(TrajectoryFileError, match="other.h5: an HDF5 file, but not of trajectories"):
        TrajectoryReader(other)
    with pytest.raises(TrajectoryFileError, match="absent.h5: no such file"):
        TrajectoryReader(tmp_path / "absent.h5")


def test_other_format_version(make_shard: Make) -> None:
    path = make_shard(0)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = np.bytes_(b"99")
    with pytest.raises(TrajectoryFileError, match="format version 99, but this code reads 1"):
        TrajectoryReader(path)


def test_unfinished_file(make_shard: Make) -> None:
    path = make_shard(0)
    with h5py.File(path, "r+") as file:
        del file.attrs["complete"]
    with pytest.raises(TrajectoryFileError, match="not finished by its writer"):
        TrajectoryReader(path)


def test_a_state_that_was_never_written(tmp_path: Path, header: Header) -> None:
    path = tmp_path / "shard.h5"
    with writing_shard(path, header, [100]) as writer:
        for _ in range(2):
            writer.write(0, np.ones(20), {})
        writer.flush()
        writer.valid[0] += 1  # claims a state that is not there
    reader = TrajectoryReader(path)
    with pytest.raises(TrajectoryFileError, match=r"chunk \(0, 2, 0\): was never written"):
        reader.states(0, [2])
    assert [fault.chunk for fault in reader.verify(progress=False)] == [(0, 2, 0)]


def test_joined_file_without_one_of_its_shards(make_shard: Make, tmp_path: Path) -> None:
    paths = [make_shard(i) for i in range(3)]
    out = tmp_path / "joined.h5"
    join_shards(paths, out, progress=False)
    paths[1].unlink()
    with h5py.File(out) as file:  # what everyone else would read
        assert np.isnan(file["params"][2]).all()
    with pytest.raises(TrajectoryFileError, match=r"joined.h5: its shard .*shard=1.h5 is missing"):
        TrajectoryReader(out)


def test_joined_file_with_another_shard_in_place(make_shard: Make, tmp_path: Path, header: Header) -> None:
    paths = [make_shard(i) for i in range(3)]
    out = tmp_path / "joined.h5"
    join_shards(paths, out, progress=False)
    paths[1].unlink()
    make_shard(1, data_checksum="cd" * 32)
    with pytest.raises(TrajectoryFileError, match="shard=1.h5: not the shard that joined.h5 was joined from"):
        TrajectoryReader(out)
    paths[1].unlink()
    os.replace(make_shard(0, tmp_path / "again.h5"), paths[1])
    with pytest.raises(TrajectoryFileError, match="shard=1.h5: not the shard"):
        TrajectoryReader(out)


def test_join_refuses_what_does_not_belong_together(make_shard: Make, tmp_path: Path, header: Header) -> None:
    first, second, third = (make_shard(i) for i in range(3))
    out = tmp_path / "joined.h5"
    with pytest.raises(ValueError, match="`paths` is empty"):
        join_shards([], out)
    with pytest.raises(TrajectoryFileError, match=r"shard 2 of 3 is missing \(seeds 104..104\)"):
        join_shards([first, second], out, progress=False)
    with pytest.raises(TrajectoryFileError, match=r"shard 1 of 2 is missing \(seeds 102..103\)"):
        join_shards([first], out, models=4, progress=False)
    with pytest.raises(TrajectoryFileError, match="seed 104 is not among the 4 from 100 on"):
        join_shards([first, second, third], out, models=4, progress=False)
    for models in (0, 3, 6):
        with pytest.raises(ValueError, match=rf"`models` \(={models}\) must be a multiple of the 2 .* at most 5"):
            join_shards([first, second], out, models=models, progress=False)
    with pytest.raises(TrajectoryFileError, match="seed 100 is also in"):
        join_shards([first, second, third, make_shard(0, tmp_path / "copy.h5")], out, progress=False)
    recipe = replace(header.task.recipe, lr=1.0)
    foreign = make_shard(2, tmp_path / "foreign.h5", task=replace(header.task, recipe=recipe))
    with pytest.raises(TrajectoryFileError, match="foreign.h5: does not belong to .*`task_spec` differs"):
        join_shards([first, second, foreign], out, progress=False)
    other = make_shard(2, tmp_path / "other.h5", data_checksum="cd" * 32)
    with pytest.raises(TrajectoryFileError, match="other.h5: does not belong to .*`data_checksum` differs"):
        join_shards([first, second, other], out, progress=False)
    assert not out.exists()
    join_shards([first, second, third], out, progress=False)
    with pytest.raises(TrajectoryFileError, match="joined.h5: a joined file, not a shard"):
        join_shards([out], tmp_path / "twice.h5", progress=False)


def test_shards_of_different_days_join(make_shard: Make, tmp_path: Path) -> None:
    paths = [make_shard(0), make_shard(1, code_version="beef", versions={"torch": "3"}), make_shard(2)]
    join_shards(paths, tmp_path / "joined.h5", progress=False)
    reader = TrajectoryReader(tmp_path / "joined.h5")
    assert reader.header.code_version == "beef, c0ffee"
    assert json.loads(reader.attributes["versions"]) == {"torch": "2, 3", "nino": "0"}


def test_a_finished_shard_is_not_written_again(make_shard: Make) -> None:
    path = make_shard(0)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="finished already: delete it"):
        make_shard(0)
    assert path.read_bytes() == before


def test_an_error_while_writing_leaves_nothing(tmp_path: Path, header: Header) -> None:
    path = tmp_path / "shard.h5"
    with pytest.raises(RuntimeError, match="boom"), writing_shard(path, header, [100]) as writer:
        writer.write(0, np.ones(20), {})
        raise RuntimeError("boom")
    assert list(tmp_path.iterdir()) == []


WRITE_AND_WAIT = """
import pickle, sys, time
from pathlib import Path
import numpy as np
from nino.trajectories.store import writing_shard

header = pickle.loads(bytes.fromhex(sys.argv[2]))
with writing_shard(Path(sys.argv[1]), header, [100, 101]) as writer:
    for _ in range(6):
        writer.write(0, np.ones(20), {"train_loss": 1.0})
    writer.flush()
    writer.file.flush()
    print("half", flush=True)
    time.sleep(600)
"""


def test_kill_while_writing(tmp_path: Path, header: Header, make_shard: Make) -> None:
    import pickle

    path = tmp_path / "shards" / "shard=0.h5"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_WAIT, str(path), pickle.dumps(header).hex()], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"half"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not path.exists()
    (leftover,) = path.parent.glob("*.part")
    with pytest.raises(TrajectoryFileError, match="not a whole HDF5 file|not of trajectories"):
        TrajectoryReader(leftover)
    make_shard(0)  # the next job cleans up and finishes
    assert [file.name for file in path.parent.iterdir()] == ["shard=0.h5"]
    assert TrajectoryReader(path).verify(progress=False) == []
