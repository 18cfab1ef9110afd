"""Nowcasts from saved models: a training of any kind stops, jumps, and resumes from a file; fine-tuned models merge."""

from nino.offline.merge import Merge, merge
from nino.offline.nowcast import OfflineStep, last_of, step

__all__ = ["Merge", "OfflineStep", "last_of", "merge", "step"]
