"""One nowcast from a run's checkpoints: a training of any kind stops, jumps, and resumes from the file."""

from nino.offline.nowcast import OfflineStep, last_of, step

__all__ = ["OfflineStep", "last_of", "step"]
