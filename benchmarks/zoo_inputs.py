"""Inputs for tiny models of transformers, by the names of their forward's arguments."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nino.graphs.recorded.examples import BATCH, TOKENS, examples

Inputs = dict[str, Any]


def candidates(model: Any) -> Iterator[Inputs]:
    """Inputs that the model might take, the likeliest first.

    Args:
        model: of transformers, with its config.
    """
    names = inspect.signature(model.forward).parameters
    needed = {n for n, p in names.items() if p.default is inspect.Parameter.empty and p.kind is not p.VAR_KEYWORD}
    for known in examples(model):
        for example in _smaller(known):
            yield example
            missing = {n: x for n in needed if n not in example and (x := _guess(n, model)) is not None}
            if missing:
                yield {**example, **missing}
                yield {n: x for n, x in {**example, **missing}.items() if n in needed or n == "use_cache"}
    yield {n: x for n in needed if (x := _guess(n, model)) is not None}
    if {"past_values", "past_time_features"} <= set(names):
        yield _series(model.config)
    for n in ("input_values", "input_features", "past_values", "pixel_values_videos"):
        if n in names and (x := _guess(n, model)) is not None:
            yield {n: x}


def _smaller(example: Inputs) -> Iterator[Inputs]:
    """An input with small images, where the config does not say how large they are, and the input itself."""
    pixels = example.get("pixel_values")
    if pixels is not None and pixels.shape[-1] == 224:
        yield {**example, "pixel_values": pixels[..., :64, :64]}
    yield example


def _guess(name: str, model: Any) -> Tensor | None:
    """What an argument of this name usually is."""
    config = model.config
    text, vision = (getattr(config, f"{kind}_config", config) for kind in ("text", "vision"))
    audio = getattr(config, "audio_config", getattr(config, "encoder_config", config))
    width = _number(text, "hidden_size", "d_model", default=32)
    side = _number(vision, "image_size", default=64)
    if name in ("input_ids", "decoder_input_ids", "text_input_ids", "entity_ids", "table_ids"):
        return torch.ones(BATCH, TOKENS, dtype=torch.long)
    if name in ("attention_mask", "decoder_attention_mask", "token_type_ids", "pixel_mask", "input_features_mask"):
        return torch.ones(BATCH, TOKENS, dtype=torch.long)
    if name in ("inputs_embeds", "hidden_states", "query_embeds", "encoder_hidden_states", "hidden_state"):
        grid = "grid_thw" in inspect.signature(model.forward).parameters
        return _patches(config) if grid else torch.zeros(BATCH, TOKENS, width)
    if name in ("grid_thw", "image_grid_thw"):
        return torch.tensor([[1, 4, 4], [1, 4, 4]])
    if name == "pixel_values":
        if "grid_thw" in inspect.signature(model.forward).parameters:
            return _patches(config)
        return torch.zeros(BATCH, _number(vision, "num_channels", default=3), side, side)
    if name in ("pixel_values_videos", "video"):
        frames = _number(config, "num_frames", "frames_per_clip", default=4)
        return torch.zeros(BATCH, frames, _number(vision, "num_channels", "in_chans", default=3), side, side)
    if name == "input_values":
        bins, length = getattr(config, "num_mel_bins", None), getattr(config, "max_length", 64)
        return torch.zeros(BATCH, length, bins) if bins else torch.zeros(BATCH, 1, 4000)
    if name == "input_features":
        bins = _number(audio, "num_mel_bins", "feature_size", "input_feat_per_channel", "input_dim", default=80)
        return torch.zeros(BATCH, 64, bins)
    if name == "past_values":
        length = _number(config, "context_length", "prediction_length", default=32)
        return torch.zeros(BATCH, length, _number(config, "num_input_channels", default=1))
    return None


def _patches(config: Any) -> Tensor:
    """Patches of two images of four by four, one row each."""
    vision = getattr(config, "vision_config", config)
    channels = _number(vision, "in_channels", "in_chans", "num_channels", default=3)
    size, frames = _number(vision, "patch_size", default=8), _number(vision, "temporal_patch_size", default=1)
    return torch.zeros(32, channels * frames * size * size)


def _series(config: Any) -> Inputs:
    """A time series: its past and future with features of time."""
    lags = max(getattr(config, "lags_sequence", [1]) or [1])
    past, future = config.context_length + lags, config.prediction_length
    one = config.input_size == 1
    features = max(config.num_time_features, 1)

    def values(length: int) -> Tensor:
        return torch.zeros(BATCH, length) if one else torch.zeros(BATCH, length, config.input_size)

    return {
        "past_values": values(past),
        "past_time_features": torch.zeros(BATCH, past, features),
        "past_observed_mask": torch.ones_like(values(past)),
        "future_values": values(future),
        "future_time_features": torch.zeros(BATCH, future, features),
    }


def _number(config: nn.Module | Any, *names: str, default: int) -> int:
    """The first of some numbers that a config has."""
    found = (getattr(config, name, None) for name in names)
    return next((x[0] if isinstance(x, list | tuple) else x for x in found if x), default)
