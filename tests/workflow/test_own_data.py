"""Tables of one's own, a class and numbers to predict, and a function of one's own: from config to table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.workflow.driver import snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

CONFIG = """
run: own
tasks:
  flowers: &task
    data: {name: table, source: csv, path: flowers.csv, options: {target: species}}
    model: {name: mlp, options: {hidden: [8]}}
    recipe: {optimizer: adam, lr: 3.0e-2, batch_size: 16, steps: 30}
    target: {metric: accuracy, value: 80.0}
    evaluation: {test_every: 5, validation_every: 10}
  petals:
    <<: *task
    data: {name: table, source: csv, path: flowers.csv, options: {target: petal, predict: number}}
    target: {metric: mse, value: 2.0}
  mine:
    <<: *task
    data: {name: "mydata.py:load", path: numbers.txt, options: {count: 64}}
    target: {metric: accuracy, value: 50.0}
evaluate:
  tasks: [flowers, petals, mine]
  seeds: [1000]
  schedule: {period: 10, max_horizon: 8}
  rows: [base, linear]
  methods_per_job: 2
report: {resamples: 100}
"""
LOADER = """
import numpy as np

def load(count, path):
    x = np.loadtxt(path) + np.arange(2 * count).reshape(count, 2) / count
    return {"train": (x, np.arange(count) // (count // 2))}
"""


def lay_out(folder: Path) -> Path:
    rows = [(5 + i % 3 + i / 500, 1 + 2 * (i % 3) - i / 700, ("red", "blue")[i % 2], "abc"[i % 3]) for i in range(120)]
    lines = ["sepal,petal,colour,species", *(",".join(map(str, row)) for row in rows)]
    (folder / "flowers.csv").write_text("\n".join(lines) + "\n")
    (folder / "mydata.py").write_text(LOADER)
    (folder / "numbers.txt").write_text("1.0")
    (folder / "own.yaml").write_text(CONFIG)
    return folder / "own.yaml"


def test_from_a_file_to_a_row(tmp_path: Path) -> None:
    config = lay_out(tmp_path)
    ended = snakemake(tmp_path, "--cores", 1, "results/own/tables/table2.md", overlays=(config,))
    assert ended.code == 0, ended.text[-3000:]
    results = tmp_path / "results" / "own"
    table = (results / "tables" / "table2.md").read_text()
    assert all(task in table for task in ("flowers", "petals", "mine")), table
    for task in ("flowers", "petals", "mine"):
        run = json.loads((results / "evaluate" / task / "linear" / "seed=1000" / "run.json").read_text())
        data = json.loads((results / "data" / f"{task}.json").read_text())["data"]
        assert run["status"] == "done" and run["provenance"]["inputs"]["data"] == data["checksum"]
        assert data["kind"] == "table" and data["loss"] == ("mse" if task == "petals" else "cross_entropy")
    assert data["loader"]["path"] == "mydata.py"
    # what is computed again: where values changed, and where the code or what it reads did
    text = (tmp_path / "flowers.csv").read_text()
    (tmp_path / "flowers.csv").write_text(text.replace("red", "crimson"))
    planned = snakemake(tmp_path, "--dry-run", "results/own/tables/table2.md", overlays=(config,))
    assert planned.jobs["data"] == 2
    (tmp_path / "numbers.txt").write_text("2.0")
    (tmp_path / "mydata.py").write_text(LOADER + "\n# changed\n")
    planned = snakemake(tmp_path, "--dry-run", "results/own/tables/table2.md", overlays=(config,))
    assert planned.jobs["data"] == 3
