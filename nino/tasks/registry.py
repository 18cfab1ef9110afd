"""The data sets and architectures that a config may name, a line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nino.specs import DataSpec, Reference
from nino.tasks.data import Data
from nino.tasks.imagenet import imagenet32
from nino.tasks.images import images
from nino.tasks.language import published_text, pydoc, text
from nino.tasks.libraries import timm, torchvision, transformers
from nino.tasks.models import convnet, gpt2, llama, mlp, vit
from nino.tasks.tables import table
from nino.tasks.user_data import load_user_data
from nino.tasks.vision import digits, train_and_test_images

DataLoader = Callable[[DataSpec, Path, bool], Data]
"""``(spec, data_dir, download) -> Data``: read what ``spec`` names, keep files in ``data_dir``, fetch if allowed."""

ModelBuilder = Callable[[Data, Mapping[str, Any]], nn.Module]
"""``(data, options) -> model``: a fresh network for this data, initialised from the global generator."""

DATASETS: dict[str, DataLoader] = {
    "cifar10": train_and_test_images,
    "cifar100": train_and_test_images,
    "digits": digits,
    "fashion-mnist": train_and_test_images,
    "imagenet32": imagenet32,
    "images": images,
    "lm1b": published_text,
    "pydoc": pydoc,
    "table": table,
    "text": text,
    "wikitext-103": published_text,
}

MODELS: dict[str, ModelBuilder] = {
    "convnet": convnet,
    "gpt2": gpt2,
    "llama": llama,
    "mlp": mlp,
    "timm": timm,
    "torchvision": torchvision,
    "transformers": transformers,
    "vit": vit,
}


def load_data(spec: DataSpec, data_dir: Path, download: bool = False) -> Data:
    """Read a data set: one of ours, or what a function of the user's own returns.

    Args:
        spec: which, and where it comes from.
        data_dir: where downloaded and decoded data are kept.
        download: whether data that is not there may be fetched.

    Returns:
        The data set.

    Raises:
        ValueError: for an unknown name, source or option.
        FileNotFoundError: where data is missing; says which file belongs where.
    """
    if spec.name in DATASETS:
        return DATASETS[spec.name](spec, data_dir, download)
    reference = Reference.find(spec.name, "data")
    if reference is None:
        allowed = ", ".join(sorted(DATASETS))
        raise ValueError(f"data.name is {spec.name!r}; allowed are {allowed}, FILE.py:NAME and MODULE:NAME")
    return load_user_data(spec, reference)
