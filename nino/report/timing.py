"""Seconds and memory, and what nowcasts add to them; they depend on the machine that the runs were made on."""

from __future__ import annotations

from typing import Any

import numpy as np

from nino.report.columns import (
    METHOD,
    TASK,
    Column,
    Row,
    Show,
    by_task,
    ends,
    fixed,
    head,
    interval,
    lay_out,
    rounded,
    spread,
)
from nino.report.formats import EMPTY, number
from nino.report.measures import EQUAL_LOAD, Cell, unlike, unlike_baseline, values
from nino.report.rendering import Table
from nino.report.runs import Key, Runs
from nino.report.statistics import mean_interval, sample_mean, sample_std
from nino.report.steps_to_target import absent

MEASURED = (
    *("train_seconds", "evaluation_seconds", "nowcast_seconds", "nowcasts", "seconds_per_nowcast", "overhead_percent"),
    *("seconds_to_target", "time_saved_percent"),
)


def timing_table(runs: Runs) -> Table:
    """Seconds of training, evaluation and nowcasts, seconds to target against the baseline's, and peak memory."""
    rows = [_row(runs, task.id, method) for task in runs.spec.tasks for method in runs.spec.row_order]
    columns = (
        TASK,
        METHOD,
        Column("Training, s", lambda row: _training_text(runs, row)),
        Column("Evaluation, s", _alike(fixed("evaluation_seconds", 1))),
        Column("Nowcasts, s", _alike(fixed("nowcast_seconds", 2))),
        Column("Per nowcast, s", _alike(rounded("seconds_per_nowcast"))),
        Column("Overhead, %", _alike(fixed("overhead_percent", 2))),
        Column("Seconds to target", _alike(spread("seconds_to_target", "seconds_to_target_std", 1))),
        Column("Time saved, %", _saved_text),
        interval(rows, runs.spec.confidence),
        Column("Others' share, %", _share_text, optional=True),
        Column("Peak memory, MB", lambda row: number(row["peak_memory_bytes"] / 1e6)),
    )
    return lay_out(
        "timing",
        "Time and memory",
        columns,
        rows,
        hidden=("label", "run"),
        group=by_task,
        notes=(
            "Means over the seeds whose run finished. Seconds to target: of the seeds that reached it, training and "
            "nowcasts, not evaluation. Time saved: of the seeds that both reached the target on the same machine under "
            "equal load.",
            "Others' share: of the time of the cores that a run could use, what other processes had, mean and "
            f"range over its runs. Loads that lie more than {100 * EQUAL_LOAD:g} points apart are not equal: a cell of "
            "such runs says so in place of a number. load unknown: runs of earlier versions did not record it; their "
            "seconds compare nothing.",
            "Seconds differ between machines and between two runs on one machine; Tables 1 and 2 do not.",
        ),
    )


def _row(runs: Runs, task: str, method: str) -> dict[str, Any]:
    part = runs.part(task, method)
    run, is_base = part[part.status != "missing"], method == runs.spec.baseline
    done = [Key(task, method, int(seed)) for seed in run.seed[run.status == "done"]]
    by_seed = {name: np.array(list(values(runs, Cell(name, method, task)).values())) for name in MEASURED}
    means = {name: sample_mean(array) for name, array in by_seed.items()}
    pairs = [] if is_base else [unlike_baseline(runs, task, method, int(seed)) for seed in run.seed[run.reached]]
    shares = [share for key in done if (share := runs.info[key].get("share_of_others")) is not None]
    return head(runs, task, method) | {
        "seeds": len(done),
        "run": len(run),
        "unlike": unlike(runs, done),
        "train_seconds": means["train_seconds"],
        "train_seconds_std": sample_std(by_seed["train_seconds"]),
        **{name: means[name] for name in ("evaluation_seconds", "nowcast_seconds")},
        "nowcasts": int(by_seed["nowcasts"].sum()),
        **{name: means[name] for name in ("seconds_per_nowcast", "overhead_percent", "seconds_to_target")},
        "seconds_to_target_std": sample_std(by_seed["seconds_to_target"]),
        "time_saved_percent": means["time_saved_percent"],
        "time_saved_pairs": len(by_seed["time_saved_percent"]),
        "time_saved_unlike": next(filter(None, pairs), ""),
        **ends(mean_interval(runs.spec, by_seed["time_saved_percent"])),
        **{f"share_of_others_{name}": value for name, value in _shares(shares).items()},
        "peak_memory_bytes": float(run.peak_memory_bytes.max()) if len(run) else np.nan,
    }


def _shares(shares: list[float]) -> dict[str, float]:
    array = np.array(shares)
    least, most = (array.min(), array.max()) if len(array) else (np.nan, np.nan)
    return {"mean": sample_mean(array), "low": least, "high": most}


def _alike(show: Show) -> Show:
    """Show a mean of seconds or, where the machines or loads of its runs differ, say that."""
    return lambda row: row["unlike"] if row["unlike"].endswith("differ") else show(row)


def _training_text(runs: Runs, row: Row) -> str:
    if not row["run"]:
        return absent(runs, row["task"], row["method"])
    return _alike(spread("train_seconds", "train_seconds_std", 1))(row)


def _saved_text(row: Row) -> str:
    if not row["time_saved_pairs"]:
        return row["time_saved_unlike"] or EMPTY
    return f"{number(row['time_saved_percent'], 1)} (n = {row['time_saved_pairs']})"


def _share_text(row: Row) -> str:
    mean, low, high = (100 * row[f"share_of_others_{name}"] for name in ("mean", "low", "high"))
    return f"{number(mean)} ({number(low)} to {number(high)})" if low < high else number(mean)
