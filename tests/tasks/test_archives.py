"""Caches of decoded images: made once, read as they were written or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nino.tasks.archives import cached_arrays, read_archive

RNG = np.random.default_rng(0)
ARRAYS = {"x_train": RNG.integers(0, 256, (9, 4, 4, 3), np.uint8), "y_train": np.arange(9, dtype=np.int64)}


def must_not_run() -> dict[str, np.ndarray]:
    raise AssertionError("made again")


def same(found: dict[str, np.ndarray]) -> bool:
    return found.keys() == ARRAYS.keys() and all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)


def test_damage_anywhere_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "images.npz"
    assert same(cached_arrays(cache, lambda: ARRAYS)) and same(cached_arrays(cache, must_not_run))
    data, refused = cache.read_bytes(), 0
    for place in range(0, len(data), 11):
        cache.write_bytes(data[:place] + bytes([data[place] ^ 0x14]) + data[place + 1 :])
        try:
            assert same(cached_arrays(cache, must_not_run))
        except ValueError as error:
            assert str(error).startswith(f"{cache}: damaged image cache (") and "delete it and run" in str(error)
            refused += 1
    assert refused > len(data) // 22


def test_other_images_under_an_old_name_are_refused(tmp_path: Path) -> None:
    cache = tmp_path / "images.npz"
    cached_arrays(cache, lambda: ARRAYS)
    with np.load(cache) as archive:
        written = {name: archive[name] for name in archive.files}
    np.savez(cache, **{**written, "x_train": written["x_train"] + np.uint8(1)})
    with pytest.raises(ValueError, match="its arrays are not those that were written"):
        cached_arrays(cache, must_not_run)
    np.savez(cache, **ARRAYS)  # as earlier versions wrote it
    assert same(cached_arrays(cache, must_not_run))


@pytest.mark.parametrize("keep", [0, 40, 0.5, -1])
def test_a_source_that_is_cut_short(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, **ARRAYS, x_test=ARRAYS["x_train"], y_test=ARRAYS["y_train"])
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match="images.npz: not a readable .npz file"):
        read_archive(path, tmp_path)
