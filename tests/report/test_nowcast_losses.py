from __future__ import annotations

from pathlib import Path

import numpy as np

from nino.report.nowcast_losses import nowcast_table
from nino.report.runs import Key, Runs, read_runs

from .conftest import hit_runs, write_run

MISS = float("inf")


def test_nowcasts_by_step_and_method(runs: Runs) -> None:
    table = nowcast_table(runs)
    rows = table.data[(table.data.task == "digits-8") & (table.data.method == "nino")]
    assert rows.step.tolist() == list(range(100, 1001, 100))
    assert (rows.seeds == 3).all() and (rows.accepted == 3).all()
    assert rows.lowered.tolist() == [0, 0, *[3] * 8]
    assert "base" not in set(table.data.method)
    assert table.text.set_index("Method").loc["NiNo", "Loss lowered"].tolist() == ["80 %", "80 %"]


def test_no_nowcasts_at_all_is_an_empty_table(tmp_path: Path) -> None:
    runs = hit_runs(tmp_path, {"base": [400]})
    task = runs.spec.tasks[0]
    steps = np.arange(10, 1001, 10)
    write_run(tmp_path, Key(task.id, "base", 1000), task, steps, np.full(100, 95.0), nowcasts=False)
    table = nowcast_table(read_runs(tmp_path, runs.spec))
    assert table.data.empty and "| Task" in table.markdown() and r"\bottomrule" in table.latex()
