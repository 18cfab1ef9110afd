"""A results directory as the evaluation writes it, with curves whose steps to target are known by construction."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nino.evaluate.run_folder import LOG_COLUMNS, NOWCAST_COLUMNS, write_table
from nino.report.runs import Key, Runs, read_runs
from nino.specs import (
    DataSpec,
    EvaluationSpec,
    MethodSpec,
    ModelSpec,
    RecipeSpec,
    ReportSpec,
    ScheduleSpec,
    TargetSpec,
    TaskSpec,
)

STEPS, EVERY = 1000, 10
METHODS = (
    MethodSpec("base", "none", label="Adam"),
    MethodSpec("identity", "identity"),
    MethodSpec("random", "random"),
    MethodSpec("oracle", "oracle"),
    MethodSpec("linear", "linear"),
    MethodSpec("wnn+", "metatrained", label="WNN+", source="wnn+"),
    MethodSpec("nino", "metatrained", label="NiNo", source="nino"),
)
# How many steps of the baseline one step of the method is worth.
PACE = {"base": 1.0, "identity": 0.98, "random": 0.8, "oracle": 2.6, "linear": 1.1, "wnn+": 1.35, "nino": 1.9}


def make_task(name: str, metric: str = "accuracy", value: float = 85.0) -> TaskSpec:
    model = (
        ModelSpec("convnet", {"channels": [8, 16, 16]})
        if metric == "accuracy"
        else ModelSpec("gpt2", {"width": 16, "layers": 2})
    )
    return TaskSpec(
        id=name,
        data=DataSpec("digits" if metric == "accuracy" else "pydoc"),
        model=model,
        recipe=RecipeSpec("adam", 3e-3, STEPS, 64),
        target=TargetSpec(metric, value),
        evaluation=EvaluationSpec(test_every=EVERY, validation_every=5 * EVERY),
    )


@pytest.fixture(scope="session")
def spec() -> ReportSpec:
    """Two tasks, one where higher and one where lower is better, seven methods, three seeds."""
    return ReportSpec(
        run="fake",
        tasks=(make_task("digits-8"), make_task("pydoc-2-16", "perplexity", 20.0)),
        methods=METHODS,
        seeds=(1000, 2000, 3000),
        schedule=ScheduleSpec(period=100),
        trained_on=("digits-8",),
        resamples=500,
    )


def curve(task: TaskSpec, pace: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A saturating metric with a little noise, deterministic in its arguments."""
    rng = np.random.default_rng([seed, int(1000 * pace)])
    steps = np.arange(EVERY, STEPS + 1, EVERY)
    progress = 1 - np.exp(-steps * pace / 300)
    noise = rng.normal(size=len(steps))
    if task.target.higher_is_better:
        return steps, 10 + 85 * progress + 0.3 * noise
    return steps, 12 + 88 * (1 - progress) + 0.2 * noise


def write_run(
    results: Path,
    key: Key,
    task: TaskSpec,
    steps: np.ndarray,
    values: np.ndarray,
    *,
    status: str = "done",
    reason: str | None = None,
    nowcasts: bool = True,
    **changes: Any,
) -> Path:
    """Write one run's three files as the evaluation does; its nowcasts are charged to the last row of the log."""
    folder = key.folder(results)
    last = max(map(int, steps), default=0)
    seconds = {"train": 0.01 * last, "evaluation": 0.002 * last, "nowcast": 0.5 if nowcasts else 0.0}
    seconds |= {part: changes[f"{part}_seconds"] for part in seconds if f"{part}_seconds" in changes}
    log = [
        {
            "step": int(step),
            "train_loss": float(2 * np.exp(-step / 300)) + 0.1,
            "validation": float(value) if step % (5 * EVERY) == 0 else None,
            "test": float(value),
            "train_seconds": seconds["train"] * step / last,
            "evaluation_seconds": seconds["evaluation"] * step / last,
            "nowcast_seconds": seconds["nowcast"] if step == last else 0.0,
        }
        for step, value in zip(steps, values, strict=True)
    ]
    jumps = [
        {
            "step": step,
            "k": int(round(40 * (1 - step / (STEPS + 100)) ** 2)) + 1,
            "seconds": 0.05,
            "norm": 3.0,
            "finite": True,
            "accepted": True,
            "loss_before": 2 * float(np.exp(-step / 300)) + 0.1,
            "loss_after": 2 * float(np.exp(-step / 300)) + (0.2 if step < 300 else 0.05),
        }
        for step in range(100, STEPS + 1, 100)
    ]
    met = [int(step) for step, value in zip(steps, values, strict=True) if task.target.met(value)]
    hit = min(met, default=None)
    finite = [v for v in values if np.isfinite(v)]
    info = {
        "format": 1,
        **key._asdict(),
        "label": key.method,
        "status": status,
        "reason": reason,
        "metric": task.target.metric,
        "higher_is_better": task.target.higher_is_better,
        "target": task.target.value,
        "steps": STEPS,
        "step_at_target": hit,
        "seconds_at_target": next(
            (row["train_seconds"] + row["nowcast_seconds"] for row in log if row["step"] == hit), None
        ),
        "best": (max if task.target.higher_is_better else min)(finite, default=None),
        "final": float(values[-1]) if len(values) and np.isfinite(values[-1]) else None,
        "parameters": 4000,
        **{f"{part}_seconds": value for part, value in seconds.items()},
        "peak_memory_bytes": 500_000_000,
        "share_of_others": 0.0,
        "provenance": {},
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "log.csv", log, LOG_COLUMNS)
    write_table(folder / "nowcasts.csv", jumps if nowcasts else [], NOWCAST_COLUMNS)
    (folder / "run.json").write_text(json.dumps(info))
    return folder


def write_results(results: Path, spec: ReportSpec) -> Path:
    """Write every run of a report, and the record of each task's data."""
    for task in spec.tasks:
        record = {"data": {"examples": {"train": 1078, "validation": 180, "test": 539}, "checksum": "a0"}}
        (results / "data").mkdir(parents=True, exist_ok=True)
        (results / "data" / f"{task.id}.json").write_text(json.dumps(record))
    for task in spec.tasks:
        for method in spec.methods:
            for seed in spec.seeds:
                steps, values = curve(task, PACE[method.name], seed)
                write_run(
                    results, Key(task.id, method.name, seed), task, steps, values, nowcasts=method.nowcaster != "none"
                )
    return results


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory, spec: ReportSpec) -> Path:
    """A complete results directory that no test changes."""
    return write_results(tmp_path_factory.mktemp("complete") / "fake", spec)


@pytest.fixture
def results(tmp_path: Path, complete: Path) -> Path:
    """A complete results directory of the test's own."""
    return Path(shutil.copytree(complete, tmp_path / "results" / "fake"))


@pytest.fixture(scope="session")
def runs(complete: Path, spec: ReportSpec) -> Runs:
    return read_runs(complete, spec)


def hit_runs(tmp_path: Path, hits: dict[str, list[float]], metric: str = "accuracy") -> Runs:
    """Runs of one task with given steps to target per method: inf for a miss, NaN for a run that does not exist."""
    task = make_task("digits-8", metric, 90.0)
    seeds = tuple(1000 * (i + 1) for i in range(len(next(iter(hits.values())))))
    methods = tuple(m for m in METHODS if m.name in hits)
    spec = ReportSpec(run="hits", tasks=(task,), methods=methods, seeds=seeds, resamples=500)
    good, bad = (95.0, 50.0) if task.target.higher_is_better else (50.0, 95.0)
    steps = np.arange(EVERY, STEPS + 1, EVERY)
    for method, hit_steps in hits.items():
        for seed, hit in zip(seeds, hit_steps, strict=True):
            if not np.isnan(hit):
                values = np.where(steps >= hit, good, bad)
                write_run(tmp_path, Key(task.id, method, seed), task, steps, values)
    return read_runs(tmp_path, spec)


def with_seeds(spec: ReportSpec, *seeds: int) -> ReportSpec:
    return replace(spec, seeds=seeds)
