import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nino.config.experiment import Experiment
from nino.config.layout import Layout
from nino.evaluate.run import evaluate_run
from nino.metatrain import metatrain, open_sources
from nino.nowcasters import load_nowcaster
from nino.plan.disk import fit_bytes, needs, require_room, run_bytes, shard_bytes, shortage, stored_states, token_bytes
from nino.specs import (
    DataSpec,
    EvaluationSpec,
    MethodSpec,
    ModelSpec,
    RecipeSpec,
    ScheduleSpec,
    TargetSpec,
    TaskSpec,
    TrajectorySpec,
)
from nino.tasks import DataSizes, data_sizes, load_task
from nino.tasks.sizes import tensor_sizes
from nino.tasks.tokens import cached_blocks
from nino.trajectories import join_shards, writing_shard
from nino.trajectories.collect import collect_shard, make_header

DIGITS = TaskSpec(
    "digits-8",
    DataSpec("digits"),
    ModelSpec("convnet", {"channels": [8, 16, 16]}),
    RecipeSpec("adam", 1e-3, 20, 128),
    TargetSpec("accuracy", 91.5),
    EvaluationSpec(5, 10),
)
PYDOC = replace(
    DIGITS,
    id="pydoc-2-16",
    data=DataSpec("pydoc", options={"block": 32}),
    model=ModelSpec("gpt2", {"layers": 2, "width": 16, "heads": 2}),
    recipe=RecipeSpec("adamw", 3e-3, 20, 8, 1e-2),
    target=TargetSpec("perplexity", 13.6),
)


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("task", [DIGITS, PYDOC], ids=lambda task: task.id)
def test_what_the_smoke_tasks_write_stays_below_the_estimate(task: TaskSpec, tmp_path: Path) -> None:
    spec = TrajectorySpec(models=3, models_per_shard=2, state_every=1)
    tensors, states = tensor_sizes(task, data_sizes(task, tmp_path)), stored_states(task, spec)
    loaded = load_task(task)
    assert sum(tensors) == loaded.num_parameters() and states == 21
    for shard in (0, 1):
        path = tmp_path / f"shard={shard}.h5"
        collect_shard(loaded, spec, shard, path, progress=False)
        bound = shard_bytes(spec, shard, states, sum(tensors), len(tensors))
        raw = 2 * (2 - shard) * states * sum(tensors)
        assert raw < path.stat().st_size <= bound <= 1.2 * raw + 200_000
    run = tmp_path / "run"
    evaluate_run(loaded, MethodSpec("linear", "linear"), 5, ScheduleSpec(period=10), run)
    assert folder_bytes(run) <= run_bytes(task, sum(tensors), 5)[0]


def test_folders_of_states_stay_below_the_estimate(tmp_path: Path) -> None:
    task = replace(PYDOC, evaluation=EvaluationSpec(5, 10, checkpoint_every=2))
    loaded = load_task(task)
    evaluate_run(loaded, MethodSpec("linear", "linear"), 5, ScheduleSpec(period=10), tmp_path)
    without, _ = run_bytes(PYDOC, loaded.num_parameters(), 5)
    assert without < folder_bytes(tmp_path) <= run_bytes(task, loaded.num_parameters(), 5)[0]


def test_states_of_several_chunks_stay_below_the_estimate(tmp_path: Path) -> None:
    task = replace(PYDOC, model=ModelSpec("gpt2", {"layers": 1, "width": 256, "heads": 2}))
    spec = TrajectorySpec(models=1, models_per_shard=1, state_every=1, steps=5)
    tensors = tensor_sizes(task, data_sizes(task, tmp_path))
    assert sum(tensors) > 512 * 1024
    state = np.random.default_rng(0).normal(size=sum(tensors)).astype(np.float16)
    with writing_shard(tmp_path / "a.h5", make_header(load_task(task), spec), [0]) as writer:
        for _ in range(6):
            assert writer.write(0, state, {"train_loss": 1.0})
    bound = shard_bytes(spec, 0, 6, sum(tensors), len(tensors))
    assert 12 * sum(tensors) < (tmp_path / "a.h5").stat().st_size <= bound < 1.02 * 12 * sum(tensors) + 200_000


def test_a_fit_and_a_joined_file_stay_below_the_estimate(run: Experiment) -> None:
    name, paths = "digits-2", Layout(run.run)
    task, spec = load_task(run.tasks[name]), run.trajectories[name]
    shards = [Path(paths.shard(name, i)) for i in run.shards(name)]
    for i, path in enumerate(shards):
        collect_shard(task, spec, i, path, progress=False)
    join_shards(shards, Path(paths.dataset(name)), progress=False)
    fit = run.nowcasters["nino"].metatrain
    metatrain(fit, open_sources({name: Path(paths.dataset(name))}), Path(paths.fit("nino")), progress=False)
    parameters = sum(p.numel() for p in load_nowcaster(paths.checkpoint("nino")).parameters())  # type: ignore[attr-defined]
    assert folder_bytes(Path(paths.fit("nino"))) <= fit_bytes(fit, parameters)[0]
    sizes = {name: data_sizes(run.tasks[name], Path())}
    found = needs(run, sizes, {name: tensor_sizes(run.tasks[name], sizes[name])}, {"nino": parameters})
    stages = {need.stage: need for need in found}
    assert folder_bytes(Path(paths.under("trajectories"))) <= stages["trajectories"].size
    assert stages["trajectories"].missing == stages["metatrain"].missing == 0  # they are there
    assert stages["evaluate"].missing == stages["evaluate"].size > 0
    shards[0].unlink()
    again = needs(run, sizes, {name: tensor_sizes(run.tasks[name], sizes[name])}, {"nino": parameters})
    assert 0 < next(need for need in again if need.stage == "trajectories").missing < stages["trajectories"].size


def test_a_token_cache_stays_below_the_estimate(tmp_path: Path) -> None:
    key = {"source": "s", "tokenizer": "t", "block": 16, "group": 3}
    blocks = cached_blocks(
        tmp_path, key, lambda _: ["abc def ghi jkl " * 9], lambda rows: [[*r.encode()] for r in rows], 256
    )
    sizes = DataSizes("language", (16,), 256, {split: len(found) for split, found in blocks.items()}, "the data")
    assert folder_bytes(tmp_path) <= token_bytes(sizes)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says how much of every disk is free."""

    def free(size: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=size))

    return free


def test_a_disk_that_will_not_do_is_named(run: Experiment, disk: Callable[[int], None]) -> None:
    sizes = {"digits-2": data_sizes(run.tasks["digits-2"], Path())}
    found = needs(run, sizes, {"digits-2": [18, 2, 36, 2, 20, 10]}, {"nino": 1000})
    total = sum(need.missing for need in found) + max(need.scratch for need in found)
    disk(total)
    assert shortage(found) is None
    disk(total - 1)
    said = str(shortage(found))
    assert f"{total:,} bytes are needed at most, {total - 1:,} are free" in said and str(Path.cwd()) in said


def test_the_workflow_asks_for_the_shards_that_it_is_going_to_write(
    run: Experiment, disk: Callable[[int], None]
) -> None:
    shards = [Layout(run.run).shard("digits-2", i) for i in run.shards("digits-2")]
    states, parameters = 21, load_task(run.tasks["digits-2"]).num_parameters()
    disk(2 * 3 * states * parameters)  # the states alone
    with pytest.raises(OSError, match=r"disk is too small for this run: .*trajectories of digits-2 alone"):
        require_room(run, shards)
    require_room(run, [])
    disk(10**9)
    require_room(run, shards)


def test_data_that_is_not_there_is_no_refusal(
    run: Experiment, disk: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    tasks = run.tasks | {"digits-2": replace(run.tasks["digits-2"], data=DataSpec("images", "npz"))}
    disk(0)
    require_room(replace(run, tasks=tasks), [Layout(run.run).shard("digits-2", 0)])
    assert "digits-2: the disk it needs is not known before its data is there" in caplog.text


def test_a_method_that_reads_more_states_needs_more_room(run: Experiment, tmp_path: Path) -> None:
    sizes = {task: tensor_sizes(run.tasks[task], data_sizes(run.tasks[task], tmp_path)) for task in run.evaluated}

    def scratch(**options: int) -> int:
        methods = run.methods | {"linear": MethodSpec("linear", "linear", options=options)}
        found = needs(replace(run, methods=methods), {}, sizes, {})
        return next(need.scratch for need in found if need.stage == "evaluate")

    task = run.evaluated[0]
    assert scratch() == run_bytes(run.tasks[task], sum(sizes[task]), run.schedule.context)[1]
    assert scratch(context=10) == run_bytes(run.tasks[task], sum(sizes[task]), 10)[1]
