"""What the reader gives back, and from which process."""

from __future__ import annotations

import multiprocessing
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from nino.trajectories import Header, TrajectoryReader, join_shards, writing_shard

Make = Callable[..., Path]
Expected = Callable[[int], np.ndarray]


def test_shard_reads_back_to_the_bit(make_shard: Make, expected: Expected, header: Header) -> None:
    reader = TrajectoryReader(make_shard(1))
    assert len(reader) == 2
    assert reader.seeds.tolist() == [102, 103]
    assert reader.steps.tolist() == [0, 10, 20, 30, 40, 50]
    assert reader.header == header
    assert [p.name for p in reader.parameters] == ["weight", "bias"]
    assert reader.parameters[1].offset == 15
    np.testing.assert_array_equal(reader.window(1, 0, 1, 6), expected(103))
    np.testing.assert_allclose(reader.metrics["train_loss"][0], 1 / np.arange(1, 7), rtol=1e-6)
    assert np.isnan(reader.metrics["test"]).all()
    assert reader.verify(progress=False) == []


def test_any_states_in_any_order(make_shard: Make, expected: Expected) -> None:
    reader = TrajectoryReader(make_shard(0))
    np.testing.assert_array_equal(reader.states(0, [4, 1, 1]), expected(100)[[4, 1, 1]])
    np.testing.assert_array_equal(reader.window(0, 1, 2, 3), expected(100)[[1, 3, 5]])


def test_joined_equals_shards_and_plain_hdf5(make_shard: Make, expected: Expected, tmp_path: Path) -> None:
    out = tmp_path / "joined.h5"
    join_shards([make_shard(i) for i in (2, 0, 1)], out, progress=False)
    reader = TrajectoryReader(out)
    assert reader.seeds.tolist() == [100, 101, 102, 103, 104]
    with h5py.File(out) as file:
        for trajectory, seed in enumerate(reader.seeds.tolist()):
            np.testing.assert_array_equal(reader.window(trajectory, 0, 1, 6), expected(seed))
            np.testing.assert_array_equal(file["params"][trajectory], expected(seed))


def test_the_first_shards_of_a_collection_under_way_are_one_of_fewer_networks(
    make_shard: Make, expected: Expected, tmp_path: Path
) -> None:
    out = tmp_path / "joined.h5"
    join_shards([make_shard(1), make_shard(0)], out, models=4, progress=False)
    reader = TrajectoryReader(out)
    assert reader.seeds.tolist() == [100, 101, 102, 103]
    np.testing.assert_array_equal(reader.window(3, 0, 1, 6), expected(103))


def test_joined_survives_a_move_and_another_working_folder(
    make_shard: Make, expected: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        make_shard(i, tmp_path / "a" / "made-up" / f"shard={i}.h5")
    monkeypatch.chdir(tmp_path)
    join_shards([Path(f"a/made-up/shard={i}.h5") for i in range(3)], Path("a/made-up.h5"), progress=False)
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with h5py.File("../b/made-up.h5") as file:
        np.testing.assert_array_equal(file["params"][4], expected(104))
    np.testing.assert_array_equal(TrajectoryReader(Path("../b/made-up.h5")).window(4, 0, 1, 6), expected(104))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # forks on purpose
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_open_their_own_handle(make_shard: Make, expected: Expected, method: str) -> None:
    reader = TrajectoryReader(make_shard(0))
    reader.states(0, [0])  # this process's handle is open now
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        window = pool.submit(reader.window, 1, 0, 1, 6).result(timeout=300)
    np.testing.assert_array_equal(window, expected(101))


def test_pickle_keeps_no_handle(make_shard: Make, expected: Expected) -> None:
    reader = TrajectoryReader(make_shard(0))
    reader.states(0, [0])
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(again.window(1, 0, 1, 6), expected(101))


def test_out_of_range(make_shard: Make) -> None:
    reader = TrajectoryReader(make_shard(0))
    with pytest.raises(IndexError, match=r"`trajectory` \(=2\) must lie in 0..1"):
        reader.window(2, 0, 1, 1)
    with pytest.raises(IndexError, match=r"state 6 of trajectory 0 \(seed 100\): 6 states are stored"):
        reader.window(0, 0, 2, 4)
    with pytest.raises(IndexError, match="state -1"):
        reader.states(0, [-1])
    with pytest.raises(ValueError, match="`stride`"):
        reader.window(0, 0, 0, 1)


def test_diverged_network_ends_early(tmp_path: Path, header: Header) -> None:
    path = tmp_path / "shard.h5"
    with writing_shard(path, header, [100, 101]) as writer:
        for _ in range(6):
            assert writer.write(0, np.ones(20), {"train_loss": 1.0})
        assert writer.write(1, np.ones(20), {"train_loss": 1.0})
        assert not writer.write(1, np.full(20, 70_000.0), {"train_loss": 1.0})  # beyond float16
        assert not writer.write(1, np.ones(20), {"train_loss": float("nan")})
    reader = TrajectoryReader(path)
    assert reader.diverged.tolist() == [False, True]
    assert reader.valid.tolist() == [6, 1]
    assert reader.verify(progress=False) == []
    with pytest.raises(IndexError, match="its network diverged"):
        reader.states(1, [1])


@pytest.mark.parametrize("states", [1, 2, 4, 100])
def test_buffered_writes(
    tmp_path: Path, header: Header, expected: Expected, monkeypatch: pytest.MonkeyPatch, states: int
) -> None:
    """Whatever the buffer holds, and in whatever order networks are written."""
    monkeypatch.setattr("nino.trajectories.store.BUFFER_BYTES", states * 40)
    path = tmp_path / "shard.h5"
    with writing_shard(path, header, [100, 101]) as writer:
        for trajectory, index in [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (0, 3)]:
            assert writer.write(trajectory, expected(100 + trajectory)[index], {})
    reader = TrajectoryReader(path)
    np.testing.assert_array_equal(reader.window(0, 0, 1, 4), expected(100)[:4])
    np.testing.assert_array_equal(reader.window(1, 0, 1, 6), expected(101))
    assert reader.valid.tolist() == [4, 6]
    assert reader.verify(progress=False) == []


def test_a_window_reads_its_own_chunks_only(make_shard: Make) -> None:
    path = make_shard(0)
    with h5py.File(path) as file:
        params = file["params"]
        assert params.chunks == (1, 1, 20)
        # 2 networks, 6 states, a chunk each: data and checksum, nothing else
        assert params.id.get_num_chunks() == 12
        assert {params.id.get_chunk_info(i).size for i in range(12)} == {20 * 2 + 4}
        assert params.fletcher32 and file["metrics/train_loss"].fletcher32 and file["seed"].fletcher32


def test_a_header_larger_than_an_object_header(tmp_path: Path, header: Header) -> None:
    """A hundred thousand characters of parameter names."""
    from dataclasses import replace

    from nino.trajectories.format import flat_order

    names = flat_order([(f"{'layer.' * 20}{i}", (1,)) for i in range(1000)])
    large = replace(header, parameters=names)
    with writing_shard(tmp_path / "shard.h5", large, [100]) as writer:
        writer.write(0, np.zeros(1000), {})
    assert TrajectoryReader(tmp_path / "shard.h5").header == large


def test_same_input_same_bytes(make_shard: Make, tmp_path: Path) -> None:
    assert make_shard(0, tmp_path / "a.h5").read_bytes() == make_shard(0, tmp_path / "b.h5").read_bytes()


def test_equal_shards_give_equal_bytes(make_shard: Callable[..., Path], tmp_path: Path) -> None:
    paths = [make_shard(i) for i in range(3)]
    join_shards(paths, tmp_path / "one.h5", progress=False)
    shards = [path.read_bytes() for path in paths]
    time.sleep(1.1)  # HDF5 counts whole seconds
    join_shards(paths, tmp_path / "two.h5", progress=False)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    for path in paths:
        path.unlink()
    assert [make_shard(i).read_bytes() for i in range(3)] == shards


def test_a_folder_with_a_name_that_means_something_to_hdf5(make_shard: Callable[..., Path], tmp_path: Path) -> None:
    paths = [make_shard(i, tmp_path / "100%b größe" / f"{i}.h5") for i in range(3)]
    join_shards(paths, tmp_path / "joined.h5", progress=False)
    with h5py.File(tmp_path / "joined.h5") as file:  # plain HDF5 finds the shards, too
        assert np.isfinite(file["params"][:]).all()
