"""Inputs to record a model with, where the user passes none."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

#: Sizes of recorded inputs that the user does not choose.
BATCH, TOKENS = 2, 11


def examples(model: nn.Module) -> Iterator[Any]:
    """Inputs that the model might take, the likeliest first; whether it does shows when it runs.

    Models of transformers get their own dummy inputs, or ids, pixels and features of the sizes in their config; models
    of timm and torchvision images of their size; others an input that fits their first layer with parameters, if their
    forward takes one argument.

    Args:
        model: an unwrapped model.

    Yields:
        Dicts of keyword inputs, tuples of positional ones, or tensors.
    """
    body = of_transformers(model)
    if body is not None:
        yield from _transformers(body)
        return
    config = getattr(model, "default_cfg", None) or getattr(model, "pretrained_cfg", None)
    size = getattr(config, "input_size", None) or (config.get("input_size") if isinstance(config, dict) else None)
    if size is not None:
        yield torch.zeros(BATCH, *size)
    if type(model).__module__.startswith("torchvision.models.video"):
        yield torch.zeros(BATCH, 3, 16, 112, 112)
        yield torch.zeros(BATCH, 3, 16, 224, 224)
    elif type(model).__module__.startswith("torchvision.models"):
        side = getattr(model, "image_size", 299 if type(model).__name__ == "Inception3" else 224)
        yield torch.zeros(BATCH, 3, side, side)
    if _arguments(model) == 1:
        yield from _first_layer(model)


def of_transformers(model: nn.Module) -> nn.Module | None:
    """The model of transformers that a model is, or that adapters of PEFT stand around, if any."""
    inner = getattr(getattr(model, "base_model", None), "model", None)
    for candidate in (model, inner):
        if any(cls.__name__ == "PreTrainedModel" for cls in type(candidate).__mro__):
            return candidate
    return None


def _arguments(model: nn.Module) -> int:
    """How many arguments the forward cannot do without."""
    if isinstance(model, nn.Sequential):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.forward).parameters.values()
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)


def _first_layer(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            yield torch.zeros(BATCH, TOKENS, dtype=torch.long)
            return
        if isinstance(module, nn.modules.conv._ConvNd):
            n = len(module.kernel_size)
            for side in (32, 64, 224):
                yield torch.zeros(BATCH, module.in_channels, *(side if n < 3 else 16,) * n)
            return
        if isinstance(module, nn.Linear):
            yield torch.zeros(BATCH, module.in_features)
            yield torch.zeros(BATCH, TOKENS, module.in_features)
            return
        if isinstance(module, nn.RNNBase):
            yield torch.zeros(TOKENS, BATCH, module.input_size)
            return
        if isinstance(module, nn.RNNCellBase):
            yield torch.zeros(BATCH, module.input_size)
            return


def _transformers(model: Any) -> Iterator[dict[str, Any]]:
    """Keyword inputs by the names of the forward's arguments."""
    config = model.config
    names = set(inspect.signature(model.forward).parameters)
    text, vision = (getattr(config, f"{kind}_config", config) for kind in ("text", "vision"))
    longest = getattr(text, "max_position_embeddings", None) or TOKENS
    tokens = min(TOKENS, max(longest - 2, 1)) if isinstance(longest, int) else TOKENS
    ids = torch.zeros(BATCH, tokens, dtype=torch.long)
    inputs: dict[str, Any] = {}
    main = model.main_input_name
    if "pixel_values" in names and (main == "pixel_values" or "vision_config" in config.to_dict()):
        side = getattr(vision, "image_size", 224)
        height, width = side if isinstance(side, list | tuple) else (side, side)
        inputs["pixel_values"] = torch.zeros(BATCH, getattr(vision, "num_channels", 3), height, width)
    if "input_ids" in names and main != "pixel_values":
        inputs["input_ids"] = ids % max(getattr(text, "vocab_size", 2), 1)
    if "decoder_input_ids" in names and getattr(config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = ids
    if "input_values" in names:
        inputs["input_values"] = torch.zeros(BATCH, 4000)
    if "input_features" in names:
        bins = getattr(config, "num_mel_bins", 80)
        frames = 2 * getattr(config, "max_source_positions", 1500)
        inputs["input_features"] = torch.zeros(BATCH, bins, frames)
    if "use_cache" in names:
        inputs["use_cache"] = False
    if "bbox" in names:
        inputs["bbox"] = torch.zeros(BATCH, tokens, 4, dtype=torch.long)
    yield inputs
    yield dict(model.dummy_inputs)
