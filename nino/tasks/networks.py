"""From a task's data and the name of a model to the network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from nino.specs import ModelSpec, Reference, suggest
from nino.specs.model_options import LIBRARIES, unfit
from nino.specs.references import registered
from nino.tasks.data import Data
from nino.tasks.registry import MODELS


def is_ours(spec: ModelSpec) -> bool:
    """Whether an architecture is defined in this package."""
    return spec.name in MODELS and spec.name not in LIBRARIES


def make_model(spec: ModelSpec, data: Data) -> nn.Module:
    """A fresh network, initialised from the global generators; one from outside this package runs its file.

    Args:
        spec: a name of ours or from outside, and its options.
        data: what the network is to fit.

    Raises:
        ValueError: for an unknown name or option, data of another kind, and for a function that gives no module or one
            without a shape.
    """
    pixels = data.kind == "table" and len(data.shape) == 3  # rows of numbers that lie as images do
    if problem := unfit(spec.name, "vision" if pixels else data.kind):
        raise ValueError(f"model.name (={spec.name}) {problem}")
    if spec.name in MODELS:
        return MODELS[spec.name](data, spec.options)
    reference = Reference.find(spec.name, "model")
    if reference is None:
        raise ValueError(f"model.name is {spec.name!r}: {suggest(spec.name, [*MODELS, *registered('model')])}")
    model: Any = reference.call(data, **spec.options)
    if not isinstance(model, nn.Module):
        raise ValueError(f"model.name (={spec.name}) gave {type(model).__name__}, not a torch.nn.Module")
    if lazy := [name for name, p in model.named_parameters() if isinstance(p, UninitializedParameter)]:
        raise ValueError(f"model.name (={spec.name}) gave a parameter without a shape, {lazy[0]}: build it with sizes")
    return model


def sketch_model(spec: ModelSpec, data: Data) -> nn.Module:
    """A network for its names and shapes alone: on the meta device, or a real one where building it needs numbers."""
    try:
        with torch.device("meta"):
            return make_model(spec, data)
    except (NotImplementedError, RuntimeError):
        with torch.random.fork_rng(devices=[]):
            return make_model(spec, data)
