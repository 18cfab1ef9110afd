"""Nowcasters: past parameter states and a neural graph in, future parameters out."""

from collections.abc import Callable

from nino.nowcasters.approximate import Divided, SampledEdges, approximated
from nino.nowcasters.base import Nowcaster
from nino.nowcasters.checkpoints import KINDS, build_nowcaster, load_nowcaster, save_nowcaster
from nino.nowcasters.download import KNOWN
from nino.nowcasters.mlp import WNNPlus
from nino.nowcasters.nino import NiNoNet
from nino.nowcasters.pointwise import Pointwise
from nino.nowcasters.simple import Identity, LineFit, RandomJump
from nino.nowcasters.states import FileStates
from nino.nowcasters.wnn import WNN

# Nowcasters that need no checkpoint, by the name that a config gives; the values take the options of its entry.
NOWCASTERS: dict[str, Callable[..., Nowcaster]] = {"identity": Identity, "linear": LineFit, "random": RandomJump}

__all__ = [
    "KINDS",
    "KNOWN",
    "NOWCASTERS",
    "WNN",
    "Divided",
    "FileStates",
    "Identity",
    "LineFit",
    "NiNoNet",
    "Nowcaster",
    "Pointwise",
    "RandomJump",
    "SampledEdges",
    "WNNPlus",
    "approximated",
    "build_nowcaster",
    "load_nowcaster",
    "save_nowcaster",
]
