"""Results shared between workflows: `snakemake --cache` with SNAKEMAKE_OUTPUT_CACHE."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.workflow.driver import ENVIRONMENT, ROOT, TINY, Ended, command, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

SHARDS = ("trajectories/digits-2/shard=0.h5", "trajectories/digits-2/shard=1.h5")
FIT = "metatrain/nino/best.safetensors"


class Checkouts:
    """Folders that run the workflow with one cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.cache.mkdir()
        self.made: dict[str, set[str]] = {}  # by folder: results that were computed there, not taken from the cache

    def make(self, name: str, overlay: str, *results: str, run: str = "tiny", code: Path = ROOT) -> dict[str, Path]:
        """Make results in a folder of its own; the files of the cache that they are."""
        folder, layer = self.folder / name, self.folder / f"{name}.yaml"
        layer.write_text(overlay)
        folder.mkdir()
        wanted = [Path("results", run, result) for result in results]
        asked, layers = ("--cache", "--cores", 2, *wanted), (TINY, layer)
        shared = {"SNAKEMAKE_OUTPUT_CACHE": str(self.cache)}
        if code == ROOT:
            done = snakemake(folder, *asked, overlays=layers, environment=shared)
        else:  # nothing of it is imported yet
            words = command(folder, *asked, overlays=layers, code=code)
            own = {**ENVIRONMENT, **shared, "PYTHONPATH": str(code)}
            ended = subprocess.run(words, capture_output=True, text=True, env=own, cwd=code)
            done = Ended(ended.returncode, ended.stdout + ended.stderr)
        assert done.code == 0, done.text
        moved = {Path(path).name for path in re.findall(r"Moving output file (\S+) to cache", done.text)}
        self.made[name] = {result for result in results if Path(result).name in moved}
        return {result: Path(os.readlink(folder / "results" / run / result)) for result in results}


@pytest.fixture
def checkouts(tmp_path: Path) -> Checkouts:
    return Checkouts(tmp_path)


def test_what_depends_on_the_same_is_shared_and_nothing_else(checkouts: Checkouts) -> None:
    first = checkouts.make("first", "{}", *SHARDS, FIT)
    assert len(set(first.values())) == 3 and checkouts.made["first"] == set(first)
    assert {path.parent for path in first.values()} == {checkouts.cache}

    # another checkout, run and method: nothing is trained again
    more = "{run: other, evaluate: {rows: [base, more, nino], methods: {more: {nowcaster: linear}}}}"
    second = checkouts.make("second", more, *SHARDS, FIT, run="other")
    assert second == first and checkouts.made["second"] == set()

    # another learning rate of the fit: the trajectories are those, the weights are not
    fit = checkouts.make("fit", "{metatrain: {recipe: {lr: 0.01}}}", *SHARDS, FIT)
    assert {name for name in fit if fit[name] == first[name]} == set(SHARDS)
    assert checkouts.made["fit"] == {FIT}

    # another learning rate of the task: nothing is
    task = checkouts.make("task", "{tasks: {digits-2: {recipe: {lr: 0.02}}}}", *SHARDS, FIT)
    assert not set(task.values()) & set(first.values())
    assert checkouts.made["task"] == {*SHARDS, FIT}


def test_other_code_of_the_stage_makes_its_own(checkouts: Checkouts) -> None:
    copy = checkouts.folder / "code"
    shutil.copytree(ROOT / "nino", copy / "nino", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", copy)
    first = checkouts.make("first", "{}", SHARDS[0])
    evaluation, loop = copy / "nino" / "evaluate" / "run.py", copy / "nino" / "training.py"
    evaluation.write_text(evaluation.read_text() + "\nNO_PART_OF_HOW_NETWORKS_ARE_TRAINED = True\n")
    loop.write_text(loop.read_text() + "\n# how networks are trained, in other words\n")
    assert checkouts.make("same", "{}", SHARDS[0], code=copy) == first and checkouts.made["same"] == set()
    loop.write_text(loop.read_text() + "\nHOW_NETWORKS_ARE_TRAINED = 1\n")
    assert checkouts.make("other", "{}", SHARDS[0], code=copy) != first
    assert checkouts.made["other"] == {SHARDS[0]}


def write_images(path: Path, seed: int) -> None:
    """A data set of 10 classes in the layout of Fashion-MNIST, small."""
    draws = np.random.default_rng(seed)
    arrays = {}
    for split, count in (("train", 144), ("test", 64)):
        arrays[f"x_{split}"] = draws.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"y_{split}"] = np.arange(count, dtype=np.int64) % 10
    np.savez(path, **arrays)


def test_other_data_under_the_same_name_make_their_own(checkouts: Checkouts) -> None:
    images = checkouts.folder / "images.npz"
    entry = f"{{tasks: {{digits-2: {{data: {{name: fashion-mnist, source: npz, path: {images}}}}}}}}}"
    write_images(images, seed=0)
    first = checkouts.make("first", entry, SHARDS[0])
    write_images(images, seed=0)
    assert checkouts.make("same", entry, SHARDS[0]) == first and checkouts.made["same"] == set()
    write_images(images, seed=1)
    assert checkouts.make("other", entry, SHARDS[0]) != first
    assert checkouts.made["other"] == {SHARDS[0]}
