"""What a learned optimizer's fit takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import process_time

import pytest
import torch

from nino.config.experiment import Experiment
from nino.l2o import fit_l2o
from nino.plan import estimate
from nino.plan.disk import needs
from nino.plan.estimate import plan
from nino.plan.learned import L2OCalibration, calibrate_l2o
from nino.specs import DataSpec, L2OSpec, L2OUnit, MethodSpec
from nino.tasks import DataSizes, load_task
from nino.tasks.sizes import hub_bytes, tensor_sizes

SPEC = L2OSpec(iterations=10, hidden=8, unroll=10, trainings=2, max_steps=20, validation_steps=20, validate_every=4)


@pytest.fixture
def learning(run: Experiment) -> Experiment:
    """The tiny run with a learned optimizer beside its methods."""
    methods = {"base": run.methods["base"], "l2o": MethodSpec("l2o", "l2o", source="mine")}
    return replace(run, methods=methods, optimizers={"mine": L2OUnit("mine", run.tasks["digits-2"], SPEC)})


def test_its_time_is_that_of_unrolls_and_validations(learning: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "calibrate_l2o", lambda *_: L2OCalibration(unroll=3.0, step=0.5, memory=7))
    found = plan(learning, progress=False)
    row = next(row for row in found.rows if row.stage == "metatrain")
    # ten unrolls; validations before the first, after the fourth, the eighth and the last
    assert row.seconds == 10 * 3.0 + 4 * 20 * 0.5 and row.memory is not None and row.memory >= 7
    assert row.size is not None and row.size > 0


def test_the_estimate_is_of_the_size_of_a_real_fit(learning: Experiment, digits: DataSizes, tmp_path: Path) -> None:
    task = learning.tasks["digits-2"]
    expected = calibrate_l2o(SPEC, task, digits, torch.device("cpu")).seconds(SPEC)
    loaded = load_task(task)
    start = process_time()
    fit_l2o(SPEC, loaded, tmp_path / "fit", progress=False)
    assert expected / 6 < process_time() - start < 6 * expected
    need = next(
        n
        for n in needs(learning, {"digits-2": digits}, {"digits-2": tensor_sizes(task, digits)}, {})
        if n.name == "mine"
    )
    assert sum(path.stat().st_size for path in (tmp_path / "fit").rglob("*") if path.is_file()) <= need.size


def test_text_of_the_hub_takes_room_until_it_is_there(run: Experiment, tmp_path: Path) -> None:
    lm1b = replace(run.tasks["lm1b-3-24"], data=DataSpec("lm1b", "hub"))
    sizes = {"lm1b-3-24": DataSizes("language", (1024,), 50_257, {"train": 9, "validation": 9, "test": 9}, "x")}
    changed = replace(run, tasks={**run.tasks, "lm1b-3-24": lm1b}, data_dir=tmp_path)

    def disk() -> list[tuple[int, int]]:
        return [(need.size, need.missing) for need in needs(changed, sizes, {}, {}) if need.name == "lm1b"]

    packed, ours = hub_bytes("lm1b")
    assert disk() == [(packed, packed), (ours, ours)] and packed + ours > 5e9
    for split in ("train", "validation", "test"):
        (tmp_path / "lm1b" / f"{split}.parquet").parent.mkdir(exist_ok=True)
        (tmp_path / "lm1b" / f"{split}.parquet").touch()
    assert disk() == [(packed, 0), (ours, 0)]
