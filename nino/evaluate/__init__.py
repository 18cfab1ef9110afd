"""Evaluation: train a task with a method, and read off the steps and seconds it took to the target."""

from nino.evaluate.tables import LOG_COLUMNS, NOWCAST_COLUMNS, read_table, write_table
from nino.evaluate.target import best_value, seconds_to_target, steps_to_running_mean, steps_to_target

__all__ = [
    "LOG_COLUMNS",
    "NOWCAST_COLUMNS",
    "best_value",
    "read_table",
    "seconds_to_target",
    "steps_to_running_mean",
    "steps_to_target",
    "write_table",
]
