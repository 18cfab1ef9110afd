"""Meta-training: fitting a nowcaster to the trajectories of many trainings."""

from nino.metatrain.loop import Outcome, metatrain
from nino.metatrain.sampler import Draw, WindowSampler
from nino.metatrain.sources import open_sources
from nino.metatrain.training_windows import Windows

__all__ = ["Draw", "Outcome", "WindowSampler", "Windows", "metatrain", "open_sources"]
