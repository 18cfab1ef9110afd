"""Architectures: one function each, registered in ``nino.tasks.registry``."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from torch import nn

from nino.specs.model_options import (
    ConvnetOptions,
    GPT2Options,
    LlamaOptions,
    MLPOptions,
    TransformerOptions,
    ViTOptions,
    misfits,
)
from nino.tasks.data import Data
from nino.tasks.torchvision_ops import declare_missing_operators

T = TypeVar("T", bound=TransformerOptions)
KEY = "model.options"  # where a task's entry has them


class ConvNet(nn.Sequential):
    """Three 3 x 3 convolutions, each with a ReLU, global average pooling, a linear layer (the paper's Table 1).

    The first convolution has stride 2 and no padding, the others stride 1 and 'same' padding. There may be any number
    of convolutions, but at least one.

    Args:
        in_channels: of the images.
        classes: outputs.
        channels: outputs of each convolution, (16, 32, 32) in the paper's small networks.

    Shapes:
        (B, in_channels, height, width) -> (B, classes)

    >>> sum(p.numel() for p in ConvNet(1, 10, (16, 32, 32)).parameters())
    14378
    >>> sum(p.numel() for p in ConvNet(3, 10, (16, 32, 32)).parameters())
    14666
    """

    def __init__(self, in_channels: int, classes: int, channels: Sequence[int]) -> None:
        """See the class."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i, (fan_in, fan_out) in enumerate(zip([in_channels, *channels[:-1]], channels, strict=True), start=1):
            first = i == 1
            layers[f"conv{i}"] = nn.Conv2d(fan_in, fan_out, 3, stride=2 if first else 1, padding=0 if first else 1)
            layers[f"relu{i}"] = nn.ReLU()
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = nn.Linear(channels[-1], classes)
        super().__init__(layers)


def convnet(data: Data, options: Mapping[str, Any]) -> nn.Module:
    """A ``ConvNet`` that fits the images.

    Args:
        data: a vision data set.
        options: ``channels``, outputs of each convolution.

    Returns:
        The network, initialised by PyTorch's defaults.

    Raises:
        ValueError: for missing, unknown or unusable options.
    """
    return ConvNet(data.shape[0], data.outputs, ConvnetOptions.under(KEY, options).channels)


def gpt2(data: Data, options: Mapping[str, Any]) -> nn.Module:
    """A GPT-2 of transformers, trained from scratch; its vocabulary and context are the data set's.

    Attention goes through ``scaled_dot_product_attention``, the fastest implementation, deterministic on the CPU.

    Args:
        data: a language data set.
        options: ``layers``, ``width`` (d), ``heads``, and ``dropout`` (embeddings, attention and residual; default 0).

    Returns:
        ``GPT2LMHeadModel``, initialised as transformers does, head tied to the word embedding.

    Raises:
        ValueError: for missing, unknown or unusable options.
    """
    chosen = _transformer(GPT2Options, options)
    declare_missing_operators()
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=data.outputs,
        n_positions=data.shape[0],
        n_embd=chosen.width,
        n_layer=chosen.layers,
        n_head=chosen.heads,
        embd_pdrop=chosen.dropout,
        attn_pdrop=chosen.dropout,
        resid_pdrop=chosen.dropout,
        bos_token_id=data.outputs - 1,
        eos_token_id=data.outputs - 1,
        activation_function="gelu_pytorch_tanh",  # GPT-2's own 'gelu_new', as one kernel
        use_cache=False,
        attn_implementation="sdpa",
    )
    model: nn.Module = GPT2LMHeadModel(config)
    return model


def llama(data: Data, options: Mapping[str, Any]) -> nn.Module:
    """A Llama-3-style model of transformers, trained from scratch; its vocabulary and context are the data set's.

    RMS norms (epsilon 1e-5), rotary embeddings (base 500,000), grouped queries, a gated MLP, no biases.

    Args:
        data: a language data set.
        options: ``layers``, ``width`` (d), ``heads``, ``kv_heads`` (default ``heads``), ``inner`` (width of the MLP,
            default 4 d), ``tied`` (whether the head is the word embedding, default no).

    Returns:
        ``LlamaForCausalLM``, initialised as transformers does.

    Raises:
        ValueError: for missing, unknown or unusable options.
    """
    chosen = _transformer(LlamaOptions, options)
    declare_missing_operators()
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=data.outputs,
        max_position_embeddings=data.shape[0],
        hidden_size=chosen.width,
        num_hidden_layers=chosen.layers,
        num_attention_heads=chosen.heads,
        num_key_value_heads=chosen.kv_heads or chosen.heads,
        intermediate_size=chosen.inner or 4 * chosen.width,
        tie_word_embeddings=chosen.tied,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        bos_token_id=data.outputs - 1,
        eos_token_id=data.outputs - 1,
        use_cache=False,
        attn_implementation="sdpa",
    )
    model: nn.Module = LlamaForCausalLM(config)
    return model


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def mlp(data: Data, options: Mapping[str, Any]) -> nn.Module:
    """A multilayer perceptron: linear layers with an activation between them, on rows of any shape, flattened.

    Args:
        data: a table, or images.
        options: ``hidden``, widths of the hidden layers (none for a linear model), and ``activation``, a key of
            ``ACTIVATIONS`` (default ``relu``).

    Returns:
        The network, initialised by PyTorch's defaults; (B, ...) -> (B, outputs).

    Raises:
        ValueError: for missing, unknown or unusable options.
    """
    chosen = MLPOptions.under(KEY, options)
    name = chosen.activation
    widths = [math.prod(data.shape), *chosen.hidden, data.outputs]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if len(data.shape) > 1:
        layers["flatten"] = nn.Flatten()
    for i, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
        if i > 1:
            layers[f"{name}{i - 1}"] = ACTIVATIONS[name]()
        layers[f"fc{i}"] = nn.Linear(fan_in, fan_out)
    return nn.Sequential(layers)


def vit(data: Data, options: Mapping[str, Any]) -> nn.Module:
    """A vision transformer of transformers, trained from scratch; image size and classes are the data set's.

    Pre-norm blocks on square patches and a class token, learned positions, exact GELU, a linear head on the token.

    Args:
        data: a vision data set of square images.
        options: ``layers``, ``width`` (d), ``heads``, ``patch`` (pixels a side), ``inner`` (width of the MLP, default
            4 d), ``dropout`` (residual and embeddings; default 0).

    Returns:
        ``ViTForImageClassification``, initialised as transformers does.

    Raises:
        ValueError: for missing, unknown or unusable options, or images that patches do not fill.
    """
    chosen = _transformer(ViTOptions, options)
    channels, height, width = data.shape
    if height != width or height % chosen.patch:
        raise ValueError(
            f"model.options.patch (={options['patch']}) must divide the side of square images; the data's are "
            f"{height} x {width}"
        )
    declare_missing_operators()
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=height,
        patch_size=chosen.patch,
        num_channels=channels,
        hidden_size=chosen.width,
        num_hidden_layers=chosen.layers,
        num_attention_heads=chosen.heads,
        intermediate_size=chosen.inner or 4 * chosen.width,
        hidden_dropout_prob=chosen.dropout,
        num_labels=data.outputs,
        attn_implementation="sdpa",
    )
    model: nn.Module = ViTForImageClassification(config)
    return model


def _transformer(kind: type[T], options: Mapping[str, Any]) -> T:
    """The options of a transformer.

    Raises:
        ValueError: for missing and unknown ones, and for those that do not fit together.
    """
    chosen = kind.under(KEY, options)
    if problem := next(misfits(KEY, vars(chosen)), None):
        raise ValueError(problem)
    return chosen
