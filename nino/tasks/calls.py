"""Calling any model: what it is given, and which of its outputs are its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from nino.tasks.data import Inputs


def call(model: nn.Module, inputs: Inputs) -> Any:
    """Call a model with a tensor, with the tensors of a tuple by position, or with those of a mapping by name."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)


def predictions(outputs: Any) -> Tensor:
    """The predictions among a model's outputs: the tensor itself, ``logits``, else the first of several.

    Raises:
        ValueError: for outputs without any of these.

    >>> import torch
    >>> predictions({"loss": None, "logits": torch.ones(2)}).shape
    torch.Size([2])
    """
    given = outputs
    if isinstance(outputs, Mapping) and "logits" in outputs:
        outputs = outputs["logits"]
    elif hasattr(outputs, "logits"):
        outputs = outputs.logits
    elif isinstance(outputs, list | tuple) and outputs:
        outputs = outputs[0]
    if not isinstance(outputs, Tensor):
        raise ValueError(
            f"the model gives {type(given).__name__}: let its forward return a tensor, something with `logits`, or a "
            f"tuple that begins with the predictions"
        )
    return outputs
