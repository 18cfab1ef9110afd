"""What can be named in a config: data sets and architectures, a line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nino.specs import DataSpec
from nino.tasks.data import Data
from nino.tasks.language import pydoc
from nino.tasks.models import convnet, gpt2
from nino.tasks.vision import digits

DataLoader = Callable[[DataSpec, Path, bool], Data]
"""``(spec, data_dir, download) -> Data``: read what ``spec`` names, keep files in ``data_dir``, fetch if allowed."""

ModelBuilder = Callable[[Data, Mapping[str, Any]], nn.Module]
"""``(data, options) -> model``: a fresh network for this data, initialised from the global generator."""

DATASETS: dict[str, DataLoader] = {
    "digits": digits,
    "pydoc": pydoc,
}

MODELS: dict[str, ModelBuilder] = {
    "convnet": convnet,
    "gpt2": gpt2,
}
