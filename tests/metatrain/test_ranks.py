"""A fit in two processes against the same fit in one."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from nino.graphs import NeuralGraph
from nino.metatrain import WindowSampler, metatrain
from nino.nowcasters import load_nowcaster
from nino.ranks import Ranks
from nino.specs import MetatrainSpec
from nino.trajectories import TrajectoryReader
from tests.ranks import run_two_ranks

Source = tuple[NeuralGraph, TrajectoryReader]

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no distributed support")

# What each process does: it is stopped after the checkpoint of iteration 4, then goes on.
FIT = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from nino.metatrain import metatrain, open_sources
from nino.metatrain.optimize import Trainer
from nino.ranks import joined
from nino.specs import MetatrainSpec
recipe, paths, out = json.loads(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
step = Trainer.step
def stopping(self, i, batch):
    if i == 6:
        raise InterruptedError
    return step(self, i, batch)
sources = open_sources({task: Path(path) for task, path in paths.items()})
with joined("cpu") as (ranks, place):
    def fit():
        spec = MetatrainSpec.from_dict(recipe)
        return metatrain(spec, sources, out, device=place, ranks=ranks, progress=False)
    Trainer.step = stopping
    try:
        fit()
    except InterruptedError:
        assert not (out / "last.safetensors").exists()
    else:
        raise AssertionError("it was not stopped")
    Trainer.step = step
    outcome = fit()
    best = ranks.gather((outcome.best_loss, outcome.best_iteration, outcome.failures))
    assert best[0] == best[1], best
"""


def in_two_processes(recipe: MetatrainSpec, sources: dict[str, Source], out: Path) -> None:
    paths = json.dumps({task: str(reader.path) for task, (_, reader) in sources.items()})
    run_two_ranks("-c", FIT, json.dumps(recipe.to_dict()), paths, str(out))


def column(out: Path, name: str) -> torch.Tensor:
    with (out / "log.csv").open(newline="") as file:
        return torch.tensor([float(row[name]) for row in csv.DictReader(file) if row[name]])


def test_two_processes_are_one(digits: Source, pydoc: Source, recipe: MetatrainSpec, tmp_path: Path) -> None:
    """Two tasks: batches in which a process has windows of one of them only; ends of trajectories: masked targets."""
    spec = replace(recipe, trajectories_per_batch=4, iterations=8, model={"hidden": 16, "word_positions": True})
    sources = {"digits-4": digits, "pydoc-1-8": pydoc}
    masked = [windows.mask.sum().item() for i in range(8) for windows in WindowSampler(sources, spec).batch(i)]
    assert len(set(masked)) > 1
    one = metatrain(spec, sources, tmp_path / "one", progress=False)
    in_two_processes(spec, sources, tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )
    for name in ("loss", "grad_norm", "validation_loss", "identity_loss"):
        torch.testing.assert_close(column(tmp_path / "two", name), column(tmp_path / "one", name), rtol=2e-3, atol=0)
    assert column(tmp_path / "two", "iteration").tolist() == list(range(9))
    assert (column(tmp_path / "two", "windows_per_second") > 0).all()
    nets = [load_nowcaster(tmp_path / name / "last.safetensors").state_dict() for name in ("one", "two")]
    for name, weight in nets[0].items():
        torch.testing.assert_close(nets[1][name], weight, rtol=1e-2, atol=1e-3)
    assert one.failures == 0


def test_each_process_has_its_part_of_every_batch(digits: Source, recipe: MetatrainSpec) -> None:
    sampler = WindowSampler({"digits-4": digits}, replace(recipe, trajectories_per_batch=4))
    for iteration in range(5):
        whole = sampler.batch(iteration)
        parts = [sampler.batch(iteration, Ranks(rank, 2)) for rank in range(2)]
        assert [len(part) for part in parts] == [2, 2]
        drawn = [[(w.trajectory, w.start, w.share) for w in batch] for batch in (whole, *parts)]
        assert sorted(drawn[0]) == sorted(drawn[1] + drawn[2])
        assert sum(windows.share for windows in whole) == pytest.approx(1.0)


def test_processes_that_cannot_share_a_batch(digits: Source, recipe: MetatrainSpec, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`trajectories_per_batch` \(=3\) must be a multiple of the 2 processes"):
        metatrain(recipe, {"digits-4": digits}, tmp_path, ranks=Ranks(0, 2), progress=False)
