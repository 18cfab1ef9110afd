"""Whole meta-trainings: what they leave, resuming, repeating, learning."""

from __future__ import annotations

import csv
import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from nino.fitting import publish
from nino.graphs import NeuralGraph
from nino.leases import InUseError, lease
from nino.metatrain import Outcome, WindowSampler, metatrain, open_sources
from nino.metatrain.optimize import Trainer
from nino.nowcasters import NiNoNet, WNNPlus, load_nowcaster
from nino.specs import MetatrainSpec
from nino.threads import thread_count
from nino.trajectories import TrajectoryFileError, TrajectoryReader

Source = tuple[NeuralGraph, TrajectoryReader]
TIMES = ("wait_seconds", "seconds", "windows_per_second")


@pytest.fixture(autouse=True, scope="module")
def _no_commit() -> Iterator[None]:
    """A commit may come between two runs whose bytes are compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nino.metatrain.loop.git_commit", lambda: None)
        yield


@pytest.fixture(scope="module")
def whole(digits: Source, recipe: MetatrainSpec, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    return out, metatrain(recipe, {"digits-4": digits}, out, progress=False)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def _results(out: Path) -> tuple[Any, ...]:
    """Everything that must be repeatable."""
    nets = [(out / f"{name}.safetensors").read_bytes() for name in ("best", "last")]
    return *nets, _rows(out / "log.csv"), _rows(out / "validation.csv")


class _Interrupt(Exception):
    """Stands for a kill."""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed in Linux's /proc")
def test_the_working_folder_holds_no_open_file_when_it_is_removed(
    digits: Source, recipe: MetatrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS keeps an open file as another one, and a folder with that cannot be removed."""
    held: list[Path] = []

    def looked(folder: Path, out: Path) -> None:
        files = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
        held.extend(path for path in files if folder.resolve() in path.parents)
        publish(folder, out)

    monkeypatch.setattr("nino.metatrain.loop.publish", looked)
    metatrain(recipe, {"digits-4": digits}, tmp_path, progress=False)
    assert (tmp_path / "log.csv").exists() and held == []


def _interrupt_at(monkeypatch: pytest.MonkeyPatch, iteration: int) -> None:
    step = Trainer.step

    def interrupted(self: Trainer, i: int, batch: Any) -> Any:
        if i == iteration:
            raise _Interrupt
        return step(self, i, batch)

    monkeypatch.setattr(Trainer, "step", interrupted)


def test_what_a_run_leaves(digits: Source, pydoc: Source, recipe: MetatrainSpec, tmp_path: Path) -> None:
    spec = replace(recipe, model={"hidden": 16, "word_positions": True})
    outcome = metatrain(spec, {"digits-4": digits, "pydoc-1-8": pydoc}, tmp_path / "nino", progress=False)
    assert sorted(path.name for path in (tmp_path / "nino").iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "log.csv",
        "validation.csv",
    ]
    rows = _rows(tmp_path / "nino" / "log.csv")
    assert [int(row["iteration"]) for row in rows] == list(range(13))
    assert [int(row["iteration"]) for row in rows if row["validation_loss"]] == [0, 4, 8, 12]
    assert rows[0]["loss"] == "" and all(math.isfinite(float(row["loss"])) for row in rows[1:])
    validated = {int(row["iteration"]): float(row["validation_loss"]) for row in rows if row["validation_loss"]}
    assert outcome.best_loss == min(validated.values()) == validated[outcome.best_iteration]
    assert float(rows[1]["lr"]) == 3e-3 and float(rows[-1]["lr"]) < 1e-4
    tasks = _rows(tmp_path / "nino" / "validation.csv")
    assert [(row["iteration"], row["task"]) for row in tasks[:2]] == [("0", "digits-4"), ("0", "pydoc-1-8")]
    net = load_nowcaster(tmp_path / "nino" / "best.safetensors")
    assert isinstance(net, NiNoNet)
    assert net.config["word_positions"] == 256 and net.max_horizon == 6
    with safe_open(tmp_path / "nino" / "best.safetensors", framework="pt") as file:
        metadata = file.metadata()
    origins = json.loads(metadata["trajectories"])
    assert origins["digits-4"]["data_checksum"] == digits[1].header.data_checksum
    assert json.loads(metadata["metatrain"])["lr"] == 3e-3
    assert json.loads(metadata["networks"])["digits-4"] == {"fitted_to": 5, "held_out": 1}
    assert int(metadata["iteration"]) == outcome.best_iteration


def test_two_runs_same_bytes(
    digits: Source, recipe: MetatrainSpec, whole: tuple[Path, Outcome], tmp_path: Path
) -> None:
    metatrain(recipe, {"digits-4": digits}, tmp_path, progress=False)
    assert _results(tmp_path) == _results(whole[0])


@pytest.mark.parametrize(("engine", "each"), [("streamed", 1), ("edges", 3)])
def test_small_operations_take_one_thread(
    engine: str, each: int, digits: Source, recipe: MetatrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, before, threads = Trainer.step, torch.get_num_threads(), []

    def noted(*arguments: Any) -> Any:
        threads.append((torch.get_num_threads(), thread_count()))
        return step(*arguments)

    monkeypatch.setattr(Trainer, "step", noted)
    monkeypatch.delenv("NINO_THREADS", raising=False)
    torch.set_num_threads(3)
    try:
        metatrain(replace(recipe, iterations=2), {"digits-4": digits}, tmp_path, engine=engine, progress=False)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert threads == [(each, 3)] * 2


def test_wnn_plus_and_another_seed(digits: Source, recipe: MetatrainSpec, tmp_path: Path) -> None:
    losses = []
    for seed in (1, 2):
        spec = replace(recipe, kind="wnn+", seed=seed, iterations=4)
        losses.append(metatrain(spec, {"digits-4": digits}, tmp_path / str(seed), progress=False).best_loss)
    assert losses[0] != losses[1]
    assert isinstance(load_nowcaster(tmp_path / "1" / "last.safetensors"), WNNPlus)


def test_a_fit_without_scaling_and_positions_is_used_as_it_was_fitted(
    digits: Source, recipe: MetatrainSpec, tmp_path: Path
) -> None:
    spec = replace(recipe, iterations=2, scaling="none", model={"hidden": 4, "lpe": 0})
    metatrain(spec, {"digits-4": digits}, tmp_path, progress=False)
    net = load_nowcaster(tmp_path / "last.safetensors")
    assert isinstance(net, NiNoNet) and (net.scaled, net.config["lpe"]) == (False, 0)
    graph, reader = digits
    states = torch.randn(graph.num_parameters, 5)
    assert torch.equal(net.predict(graph, states, 1), net.predict(graph, states, 1, scaling="none"))


@pytest.mark.parametrize("iteration", [0, 4, 11])
def test_resuming_equals_not_stopping(
    digits: Source,
    recipe: MetatrainSpec,
    whole: tuple[Path, Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    iteration: int,
) -> None:
    sources = {"digits-4": digits}
    with monkeypatch.context() as patch:
        _interrupt_at(patch, iteration)
        with pytest.raises(_Interrupt):
            metatrain(recipe, sources, tmp_path / "parts", progress=False)
    assert not (tmp_path / "parts" / "best.safetensors").exists()  # nothing that looks finished
    with (tmp_path / "parts" / "state" / "log.csv").open("a") as file:
        file.write("12,0.5,0.0")  # a row cut short by the kill
    resumed = metatrain(recipe, sources, tmp_path / "parts", progress=False)
    assert vars(resumed) == vars(whole[1])
    assert _results(tmp_path / "parts") == _results(whole[0])
    assert not (tmp_path / "parts" / "state").exists()


def test_resuming_after_a_failure_in_the_first_iteration_back(
    digits: Source, recipe: MetatrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last good state is part of what is saved."""
    batch = WindowSampler.batch

    def poisoned(self: WindowSampler, i: int, *ranks: Any) -> Any:
        made = batch(self, i, *ranks)
        if i in (4, 6):
            made[0].values[0, 0] = torch.nan
        return made

    monkeypatch.setattr(WindowSampler, "batch", poisoned)
    sources = {"digits-4": digits}
    whole = metatrain(recipe, sources, tmp_path / "whole", progress=False)
    assert whole.failures == 2
    rows = _rows(tmp_path / "whole" / "log.csv")
    assert [row["failures"] for row in rows] == ["0"] * 5 + ["1"] * 2 + ["2"] * 6
    assert rows[5]["loss"] == "nan" and math.isfinite(float(rows[6]["loss"]))
    with monkeypatch.context() as patch:
        _interrupt_at(patch, 4)
        with pytest.raises(_Interrupt):
            metatrain(recipe, sources, tmp_path / "parts", progress=False)
    metatrain(recipe, sources, tmp_path / "parts", progress=False)
    assert _results(tmp_path / "parts") == _results(tmp_path / "whole")


def test_a_state_of_another_recipe_is_refused(
    digits: Source, recipe: MetatrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _interrupt_at(patch, 5)
        with pytest.raises(_Interrupt):
            metatrain(recipe, {"digits-4": digits}, tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"belongs to another meta-training: recipe.lr was 0.003, is 0.001; delete"):
        metatrain(replace(recipe, lr=1e-3), {"digits-4": digits}, tmp_path, progress=False)
    state = tmp_path / "state" / "training.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ValueError, match="training.pt: damaged"):
        metatrain(recipe, {"digits-4": digits}, tmp_path, progress=False)


def test_two_fits_on_one_output(digits: Source, recipe: MetatrainSpec, tmp_path: Path) -> None:
    with lease(tmp_path / "fit"), pytest.raises(InUseError, match="fit is being written by process"):
        metatrain(recipe, {"digits-2": digits}, tmp_path / "fit", device="cpu", progress=False)
    assert not list(tmp_path.iterdir())


def test_the_global_generators_are_left_alone(digits: Source, recipe: MetatrainSpec, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    metatrain(replace(recipe, iterations=2), {"digits-4": digits}, tmp_path, progress=False)
    assert torch.equal(before, torch.random.get_rng_state())


def test_nothing_held_out(digits: Source, recipe: MetatrainSpec, tmp_path: Path) -> None:
    outcome = metatrain(replace(recipe, validation_models=0), {"digits-4": digits}, tmp_path, progress=False)
    assert math.isnan(outcome.best_loss)
    best, last = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("best", "last"))
    assert best == last


@pytest.mark.parametrize(("kind", "share"), [("nino", 0.96), ("wnn+", 0.92)])
def test_it_learns(digits: Source, tmp_path: Path, kind: str, share: float) -> None:
    """A nowcaster trained on five networks forecasts the sixth better than staying put does."""
    spec = MetatrainSpec(
        kind=kind,
        seed=0,
        iterations=80,
        model={"hidden": 32},
        trajectories_per_batch=2,
        windows_per_trajectory=4,
        window_stride=4,
        max_horizon=20,
        validate_every=40,
        checkpoint_every=1000,
    )
    outcome = metatrain(spec, {"digits-4": digits}, tmp_path, progress=False)
    assert outcome.best_loss < share * outcome.identity_loss
    assert outcome.failures == 0


def test_open_sources(digits: Source, tmp_path: Path) -> None:
    graph, reader = open_sources({"digits-4": digits[1].path})["digits-4"]
    assert graph.parameters == digits[0].parameters and graph.topology == "released"
    assert reader.seeds.tolist() == digits[1].seeds.tolist()
    with pytest.raises(TrajectoryFileError, match="holds task 'digits-4', not 'fm-16'"):
        open_sources({"fm-16": digits[1].path})


TRAIN = """
import json, sys
from pathlib import Path
from nino.metatrain import metatrain, open_sources
from nino.metatrain.optimize import Trainer
from nino.specs import MetatrainSpec
import nino.metatrain.loop
nino.metatrain.loop.git_commit = lambda: None
step = Trainer.step
def told(self, i, batch):
    print(i, flush=True)
    return step(self, i, batch)
Trainer.step = told
spec = MetatrainSpec.from_dict(json.loads(sys.argv[1]))
metatrain(spec, open_sources({"digits-4": Path(sys.argv[2])}), Path(sys.argv[3]), progress=False)
"""


def test_kill_and_run_again(digits: Source, recipe: MetatrainSpec, whole: tuple[Path, Outcome], tmp_path: Path) -> None:
    arguments = [json.dumps(recipe.to_dict()), str(digits[1].path), str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-c", TRAIN, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 7:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    metatrain(recipe, {"digits-4": digits}, tmp_path, progress=False)
    assert _results(tmp_path) == _results(whole[0])
