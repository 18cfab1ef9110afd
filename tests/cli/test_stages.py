"""Every stage alone, from a config, at the smallest size that is real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nino.config.layout import Layout

from .conftest import ROOT

PATHS = Layout("tiny")
CONFIG = ("--config", "tiny.yaml")


def test_the_whole_chain_without_snakemake(nino, workplace: Path) -> None:
    def run(*arguments: object) -> str:
        ended = nino(*arguments)
        assert ended.code == 0, ended.err
        return ended.out

    task = (*CONFIG, "--task", "digits-2")
    run("data", *task)
    assert json.loads(Path(PATHS.data("digits-2")).read_text())["parameters"] == 88
    assert "digits-2, topology released" in run("graph", *task)
    assert "digits-2: verified: " in run("graph", *task, "--verify")
    for shard in (0, 1):
        run("collect", *task, "--shard", shard)
    run("join", *task)
    run("datasheet", PATHS.dataset("digits-2"))
    assert "digits-2" in Path(PATHS.datasheet("digits-2")).read_text()
    early = nino("evaluate", *task, "--method", "nino", "--seed", 1000)
    assert early.code == 1 and "best.safetensors" in early.err
    run("metatrain", *CONFIG, "--nowcaster", "nino")
    run("card", PATHS.checkpoint("nino"))
    assert "# NiNo fitted to digits-2" in Path(PATHS.card("nino")).read_text()
    for method in ("base", "linear", "nino"):
        for seed in (1000, 2000):
            run("evaluate", *task, "--method", method, "--seed", seed)
    assert "digits-2" in run("tables", *CONFIG)
    run("figures", *CONFIG)
    run("manifest", *CONFIG)
    assert "everything agrees" in run("verify", PATHS.root)

    table = Path(PATHS.tables, "table2.csv")
    first = table.read_bytes()
    run("tables", *CONFIG)
    assert table.read_bytes() == first

    log = Path(PATHS.evaluation("digits-2", "base", 1000), "log.csv")
    log.write_text(log.read_text().replace("10,", "11,", 1))
    changed = nino("verify", PATHS.root)
    assert changed.code == 1 and "evaluate/digits-2/base/seed=1000/log.csv" in changed.out


def test_a_device_that_is_not_there_is_an_error_in_one_line(nino, workplace: Path) -> None:
    ended = nino("evaluate", *CONFIG, "--task", "digits-2", "--method", "base", "--seed", 1, "--device", "tpu:3")
    assert ended.code == 2 and "Traceback" not in ended.err
    assert (
        ended.err.count("\n") == 1 and "--device (='tpu:3') must be auto or one that torch finds here: cpu" in ended.err
    )


def test_a_fit_in_two_processes_by_torchrun(nino, workplace: Path) -> None:
    """The command of the guide, as torchrun starts it: two processes make one fit."""
    task = (*CONFIG, "--task", "digits-2")
    assert nino("collect", *task, "--shard", 0).code == 0
    assert nino("join", *task).code == 1  # the second shard is missing,
    assert nino("join", *task, "--models", 2).code == 0
    assert nino("collect", *task, "--shard", 1).code == 0
    assert nino("join", *task).code == 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "nino"]
    fit = [*torchrun, "metatrain", *CONFIG, "--nowcaster", "nino", "--device", "cpu"]
    ended = subprocess.run(fit, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    folder = Path(PATHS.fit("nino"))
    rows = (folder / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [str(i) for i in range(7)]
    assert (folder / "best.safetensors").is_file() and not (folder / "state").exists()
    assert nino("card", PATHS.checkpoint("nino")).code == 0


def test_a_spec_file_says_the_same_as_the_config(nino, workplace: Path) -> None:
    from nino.config.load import load
    from nino.config.resolve import resolve
    from nino.config.units import write_units

    write_units(resolve(load([Path("tiny.yaml")])))
    spec = PATHS.evaluation_spec("digits-2", "linear")
    assert nino("evaluate", *CONFIG, "--task", "digits-2", "--method", "linear", "--seed", 5).code == 0
    assert nino("evaluate", spec, "--seed", 5, "--out", "again").code == 0
    kept = [Path(PATHS.evaluation("digits-2", "linear", 5), "log.csv"), Path("again", "log.csv")]
    first, second = ([line.split(",")[:4] for line in path.read_text().splitlines()] for path in kept)
    assert first == second and len(first) == 5
    without = nino("evaluate", spec, "--seed", 5)
    assert without.code == 2 and "--out: missing" in without.err


def test_methods_of_one_job_give_what_each_gives_alone(nino, workplace: Path) -> None:
    from nino.config.load import load
    from nino.config.resolve import resolve
    from nino.config.units import write_units

    methods = ("base", "random", "linear")
    Path("rows.yaml").write_text("evaluate: {rows: [base, random, linear]}\n")
    write_units(resolve(load([Path("tiny.yaml"), Path("rows.yaml")])))
    specs = [PATHS.evaluation_spec("digits-2", method) for method in methods]
    assert nino("evaluate", *specs, "--seed", 5, "--seed", 6, "--out", "together").code == 0
    for method, spec in zip(methods, specs, strict=True):
        assert nino("evaluate", spec, "--seed", 6, "--out", "alone").code == 0
        tables = [Path(folder, "log.csv").read_text() for folder in ("alone", f"together/{method}/seed=6")]
        alone, together = ([line.split(",")[:4] for line in text.splitlines()] for text in tables)
        assert alone == together and len(alone) == 5
    named = ("--task", "digits-2", "--method", "base", "--method", "linear", "--seed", 6)
    assert nino("evaluate", *CONFIG, *named).code == 0
    assert all(Path(PATHS.evaluation("digits-2", method, 6), "run.json").is_file() for method in ("base", "linear"))
    wrong = nino("evaluate", *specs, "--seed", 5, "--out", "together", "--nowcaster", "nino=best.safetensors")
    assert wrong.code == 2 and "--nowcaster (=nino): must be METHOD=FILE of one of base, random, linear" in wrong.err


def test_a_killed_job_keeps_the_methods_that_were_finished(
    nino, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The method whose runs are killed at every attempt becomes a row; the one after it is trained."""
    from nino.evaluate import run
    from nino.evaluate.run_folder import ATTEMPTS
    from nino.files import write_json

    attempt = run._attempt

    def dies_of_linear(runs) -> None:
        begun.append(runs[0].job.method.name)
        if begun[-1] == "linear":
            raise ConnectionError("the node is gone")
        attempt(runs)

    monkeypatch.setattr(run, "_attempt", dies_of_linear)
    methods = ("base", "linear", "identity")
    job = ("evaluate", *CONFIG, "--config", "rows.yaml", "--task", "digits-2", "--seed", 1000)
    Path("rows.yaml").write_text("evaluate: {rows: [base, linear, identity]}\n")
    tries = (*job, *(f"--method={method}" for method in methods), "--attempts", 2)
    results = [Path(PATHS.evaluation("digits-2", method, 1000), "run.json") for method in methods]
    for number, expected in ((1, ["base", "linear"]), (2, ["linear"]), (3, ["identity"])):
        begun: list[str] = []
        assert nino(*tries, "--attempt", number).code == (number < 3) and begun == expected
        if number < 3:
            results[0].unlink()  # as Snakemake does with the outputs of a job that failed
            notes = {str(earlier): {"slurm": None} for earlier in range(1, number + 1)}
            write_json(results[1].with_name(ATTEMPTS), notes)  # an error takes its note away, a kill does not
    assert [json.loads(path.read_text())["status"] for path in results] == ["done", "failed", "done"]


def test_a_killed_job_keeps_the_seeds_that_were_finished(
    nino, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nino.evaluate import run

    begun = []
    attempt = run._attempt

    def dies_at_the_second(runs) -> None:
        begun.append([run.job.seed for run in runs])
        if begun == [[1000], [2000]]:
            raise ConnectionError("the node is gone")
        attempt(runs)

    monkeypatch.setattr(run, "_attempt", dies_at_the_second)
    job = ("evaluate", *CONFIG, "--task", "digits-2", "--method", "base", "--seed", 1000, "--seed", 2000)
    tries = (*job, "--members", 1, "--attempts", 3)
    assert nino(*tries, "--attempt", 1).code == 1
    first, second = (Path(PATHS.evaluation("digits-2", "base", seed), "run.json") for seed in (1000, 2000))
    text = first.read_text()
    for name in ("run.json", "log.csv", "nowcasts.csv"):  # as Snakemake does with the outputs of a job that failed
        first.with_name(name).unlink()
    assert not second.exists()
    assert nino(*tries, "--attempt", 2).code == 0
    assert begun == [[1000], [2000], [2000]] and first.read_text() == text
    assert json.loads(second.read_text())["status"] == "done"
    assert not list(Path(PATHS.root).rglob(".attempts.json"))


L2O = """
metatrain:
  optimizers:
    l2o: {task: digits-2, iterations: 3, hidden: 4, unroll: 3, trainings: 1, max_steps: 6, validation_steps: 2}
evaluate:
  rows: [base, l2o]
  methods:
    l2o: {tasks: null}
"""


def test_a_learned_optimizer_and_several_seeds(nino, workplace: Path) -> None:
    Path("l2o.yaml").write_text(L2O)
    config = (*CONFIG, "--config", "l2o.yaml")
    task = (*config, "--task", "digits-2")
    wrong = nino("l2o", *config, "--optimizer", "l3o")
    assert wrong.code == 2 and "--optimizer (=l3o): not in the config; did you mean 'l2o'?" in wrong.err
    assert nino("l2o", *config, "--optimizer", "l2o").code == 0
    assert Path(PATHS.l2o_checkpoint("l2o")).is_file()
    seeds = ("--seed", 1000, "--seed", 2000, "--members", 2)
    for method, at_once in (("base", 2), ("l2o", 1)):
        assert nino("evaluate", *task, "--method", method, *seeds).code == 0
        for seed in (1000, 2000):
            run = json.loads(Path(PATHS.evaluation("digits-2", method, seed), "run.json").read_text())
            assert (run["status"], run["seed"], run["members_at_once"]) == ("done", seed, at_once)
    assert nino("evaluate", *task, "--method", "base", *seeds, "--out", "elsewhere").code == 0
    assert sorted(path.name for path in Path("elsewhere").iterdir()) == ["seed=1000", "seed=2000"]
