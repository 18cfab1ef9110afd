"""The target of a task: when a run met it, and how to know without a full evaluation that a network does not."""

from nino.evaluate.target.running_mean import running_mean_score, steps_to_running_mean
from nino.evaluate.target.score import best_value, seconds_to_target, steps_to_target

__all__ = ["best_value", "running_mean_score", "seconds_to_target", "steps_to_running_mean", "steps_to_target"]
