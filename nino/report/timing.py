"""Seconds and memory, and what nowcasts add to them; they depend on the machine that the runs were made on."""

from __future__ import annotations

from typing import Any

import numpy as np

from nino.report.columns import (
    METHOD,
    TASK,
    Column,
    Row,
    by_task,
    ends,
    fixed,
    head,
    interval,
    lay_out,
    rounded,
    spread,
)
from nino.report.formats import number
from nino.report.measures import Cell, same_machine, values
from nino.report.rendering import Table
from nino.report.runs import Runs
from nino.report.statistics import interval_of_mean, sample_mean, sample_std
from nino.report.steps_to_target import absent

MEASURED = (
    *("train_seconds", "evaluation_seconds", "nowcast_seconds", "nowcasts", "seconds_per_nowcast", "overhead_percent"),
    *("seconds_to_target", "time_saved_percent"),
)


def timing_table(runs: Runs) -> Table:
    """Seconds of training, evaluation and nowcasts, seconds to target against the baseline's, and peak memory."""
    columns = (
        TASK,
        METHOD,
        Column("Training, s", lambda row: _training_text(runs, row)),
        Column("Evaluation, s", fixed("evaluation_seconds", 1)),
        Column("Nowcasts, s", fixed("nowcast_seconds", 2)),
        Column("Per nowcast, s", rounded("seconds_per_nowcast")),
        Column("Overhead, %", fixed("overhead_percent", 2)),
        Column("Seconds to target", spread("seconds_to_target", "seconds_to_target_std", 1)),
        Column("Time saved, %", fixed("time_saved_percent", 1)),
        Column(f"{100 * runs.spec.confidence:g} % interval", interval()),
        Column("Peak memory, MB", lambda row: number(row["peak_memory_bytes"] / 1e6)),
    )
    return lay_out(
        "timing",
        "Time and memory",
        columns,
        [_row(runs, task.id, method) for task in runs.spec.tasks for method in runs.spec.row_order],
        hidden=("label", "run", "interval_kind"),
        group=by_task,
        notes=(
            "Means over the seeds whose run finished. Seconds to target count training and nowcasts, not evaluation; "
            "time saved is paired by seed, pairs that were not run on the same machine left out.",
            "Seconds differ between machines and between two runs on one machine; Tables 1 and 2 do not.",
        ),
    )


def _row(runs: Runs, task: str, method: str) -> dict[str, Any]:
    part = runs.part(task, method)
    run, is_base = part[part.status != "missing"], method == runs.spec.baseline
    by_seed = {name: np.array(list(values(runs, Cell(name, method, task)).values())) for name in MEASURED}
    means = {name: sample_mean(array) for name, array in by_seed.items()}
    return head(runs, task, method) | {
        "seeds": int((run.status == "done").sum()),
        "run": len(run),
        "train_seconds": means["train_seconds"],
        "train_seconds_std": sample_std(by_seed["train_seconds"]),
        **{name: means[name] for name in ("evaluation_seconds", "nowcast_seconds")},
        "nowcasts": int(by_seed["nowcasts"].sum()),
        **{name: means[name] for name in ("seconds_per_nowcast", "overhead_percent", "seconds_to_target")},
        "seconds_to_target_std": sample_std(by_seed["seconds_to_target"]),
        "time_saved_percent": means["time_saved_percent"],
        "pairs_of_two_machines": sum(not (is_base or same_machine(runs, task, method, int(seed))) for seed in run.seed),
        **ends(interval_of_mean(runs, by_seed["time_saved_percent"])),
        "peak_memory_bytes": float(run.peak_memory_bytes.max()) if len(run) else np.nan,
    }


def _training_text(runs: Runs, row: Row) -> str:
    if not row["run"]:
        return absent(runs, row["task"], row["method"])
    return spread("train_seconds", "train_seconds_std", 1)(row)
