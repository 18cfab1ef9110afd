"""Evaluation: train a task with a method, and measure the steps and seconds that it took to the target."""

from typing import TYPE_CHECKING, Any

from nino.evaluate.run_folder import LOG_COLUMNS, NOWCAST_COLUMNS, read_table, write_table
from nino.evaluate.target import best_value, seconds_to_target, steps_to_running_mean, steps_to_target

if TYPE_CHECKING:
    from nino.evaluate.job import Job
    from nino.evaluate.run import evaluate_run, evaluate_runs

__all__ = [
    "LOG_COLUMNS",
    "NOWCAST_COLUMNS",
    "Job",
    "best_value",
    "evaluate_run",
    "evaluate_runs",
    "read_table",
    "seconds_to_target",
    "steps_to_running_mean",
    "steps_to_target",
    "write_table",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for: reading the files of a run must not take seconds."""
    if name in ("Job", "evaluate_run", "evaluate_runs"):
        from nino.evaluate import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
