"""States that a run writes as folders: the offline nowcast from them is the one in the loop."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nino.evaluate.loop import EvaluatedTraining
from nino.evaluate.methods import start_training
from nino.evaluate.run import evaluate_run
from nino.nowcasters import LineFit, Nowcaster, build_nowcaster
from nino.offline import step
from nino.offline.checkpoints import Checkpoint
from nino.specs import EvaluationSpec, MethodSpec, ModelSpec, ScheduleSpec
from nino.tasks import Task
from tests.nowcasters.helpers import lively

SCHEDULE = ScheduleSpec(period=10, context=5, max_horizon=7)
BASE = MethodSpec("base", "none")


@pytest.fixture(scope="module")
def llama(pydoc: Task) -> Task:
    """24 steps of a Llama of one block, a nowcast every 10, its states written every 2."""
    model = ModelSpec("llama", {"layers": 1, "width": 16, "heads": 4, "kv_heads": 2, "inner": 32})
    every = EvaluationSpec(test_every=12, validation_every=12, checkpoint_every=2)
    recipe = replace(pydoc.spec.recipe, steps=24)
    return Task(replace(pydoc.spec, model=model, recipe=recipe, evaluation=every), pydoc.data)


@pytest.mark.parametrize("kind", ["linear", "nino"])
def test_the_offline_nowcast_is_the_one_in_the_loop(llama: Task, tmp_path: Path, kind: str) -> None:
    nowcaster: Nowcaster = LineFit() if kind == "linear" else lively(build_nowcaster("nino", hidden=8))
    for last, k in ((10, 7), (20, 1)):
        # everything but the nowcast itself is that of a run without nowcasts up to there
        row = MethodSpec("nino", kind, options={"period": last, "spacing": 2, "horizons": k})
        online = start_training(llama, row, 1000, SCHEDULE, nowcaster)
        apart = start_training(llama, BASE, 1000, SCHEDULE, None)
        folders = _folders(llama, tmp_path / str(last), apart)
        for _ in range(last):
            online.step()
            folders.advance()
        done = step(
            tmp_path / str(last), nowcaster, max_train_steps=24, period=10, max_horizon=7, pattern="checkpoint-*"
        )
        assert done.norm > 0.1 and done.k == k and done.steps == tuple(range(last - 8, last + 1, 2))
        written = load_file(done.path / "model.safetensors")
        for name, parameter in online.model.named_parameters():
            torch.testing.assert_close(written[name], parameter.detach(), rtol=1e-4, atol=1e-5)


def _folders(task: Task, folder: Path, training) -> EvaluatedTraining:
    from nino.evaluate.states import StateFolders

    return EvaluatedTraining(training, states=StateFolders(folder, 2, 6, training.model))


def test_a_run_keeps_one_more_than_a_nowcast_reads(llama: Task, tmp_path: Path) -> None:
    result = evaluate_run(llama, BASE, 1000, SCHEDULE, tmp_path)
    assert result["status"] == "done"
    found = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert found == [f"checkpoint-{n}" for n in (14, 16, 18, 20, 22, 24)]
    without = replace(llama.spec, evaluation=replace(llama.spec.evaluation, checkpoint_every=None))
    plain = evaluate_run(Task(without, llama.data), BASE, 1000, SCHEDULE, tmp_path / "plain")
    assert (plain["best"], plain["final"]) == (result["best"], result["final"])
    assert "checkpoint_every" not in plain["provenance"]["inputs"]["task"]["evaluation"], "as runs from before it"


def test_a_convnet_has_no_such_folders(digits: Task, tmp_path: Path) -> None:
    every = replace(digits.spec.evaluation, checkpoint_every=2)
    with pytest.raises(ValueError, match=r"checkpoint_every \(=2\) writes folders of Hugging Face models, and ConvNet"):
        evaluate_run(Task(replace(digits.spec, evaluation=every), digits.data), BASE, 1000, SCHEDULE, tmp_path)


def test_a_state_with_other_bytes_than_were_written_is_refused(llama: Task, tmp_path: Path) -> None:
    folders = _folders(llama, tmp_path, start_training(llama, BASE, 1000, SCHEDULE, None))
    for _ in range(10):
        folders.advance()
    about = {"max_train_steps": 24, "period": 10, "max_horizon": 7, "pattern": "checkpoint-*"}
    out = step(tmp_path, LineFit(), **about).path
    assert Checkpoint.open(out, 11).files, "a nowcast beside its own digests, not those of the state before"
    shutil.rmtree(out)
    weights = tmp_path / "checkpoint-6" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-9] ^= 64
    weights.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"checkpoint-6/model.safetensors is damaged: .*SHA256SUMS lists; copy it"):
        step(tmp_path, LineFit(), **about)
    assert not out.exists()
