"""Architectures: one function each, registered in ``nino.tasks.registry``."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import nn

from nino.tasks.data import Data
from nino.tasks.torchvision_ops import declare_missing_operators


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
    check_options("convnet", options, required=("channels",))
    channels = options["channels"]
    if not channels or any(not isinstance(c, int) or c < 1 for c in channels):
        raise ValueError(
            f"model.options.channels is {channels!r}: give at least one positive integer, e.g. [16, 32, 32]"
        )
    return ConvNet(data.shape[0], data.outputs, channels)


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
    check_options("gpt2", options, required=("layers", "width", "heads"), optional=("dropout",))
    _check_divides(options, "width", "heads")
    declare_missing_operators()
    from transformers import GPT2Config, GPT2LMHeadModel

    dropout = float(options.get("dropout", 0.0))
    config = GPT2Config(
        vocab_size=data.outputs,
        n_positions=data.shape[0],
        n_embd=options["width"],
        n_layer=options["layers"],
        n_head=options["heads"],
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        resid_pdrop=dropout,
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
    check_options("llama", options, required=("layers", "width", "heads"), optional=("kv_heads", "inner", "tied"))
    _check_divides(options, "width", "heads")
    if "kv_heads" in options:
        _check_divides(options, "heads", "kv_heads")
    declare_missing_operators()
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=data.outputs,
        max_position_embeddings=data.shape[0],
        hidden_size=options["width"],
        num_hidden_layers=options["layers"],
        num_attention_heads=options["heads"],
        num_key_value_heads=options.get("kv_heads", options["heads"]),
        intermediate_size=options.get("inner", 4 * options["width"]),
        tie_word_embeddings=options.get("tied", False),
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
    check_options("mlp", options, required=("hidden",), optional=("activation",))
    name = options.get("activation", "relu")
    if name not in ACTIVATIONS:
        raise ValueError(f"model.options.activation is {name!r}; allowed are {', '.join(ACTIVATIONS)}")
    widths = [math.prod(data.shape), *options["hidden"], data.outputs]
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
    check_options("vit", options, required=("layers", "width", "heads", "patch"), optional=("inner", "dropout"))
    _check_divides(options, "width", "heads")
    channels, height, width = data.shape
    if height != width or height % options["patch"]:
        raise ValueError(
            f"model.options.patch (={options['patch']}) must divide the side of square images; the data's are "
            f"{height} x {width}"
        )
    declare_missing_operators()
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=height,
        patch_size=options["patch"],
        num_channels=channels,
        hidden_size=options["width"],
        num_hidden_layers=options["layers"],
        num_attention_heads=options["heads"],
        intermediate_size=options.get("inner", 4 * options["width"]),
        hidden_dropout_prob=float(options.get("dropout", 0.0)),
        num_labels=data.outputs,
        attn_implementation="sdpa",
    )
    model: nn.Module = ViTForImageClassification(config)
    return model


def _check_divides(options: Mapping[str, Any], whole: str, part: str) -> None:
    """Raise a ``ValueError`` unless one option is a multiple of another."""
    if options[whole] % options[part]:
        raise ValueError(
            f"model.options.{whole} (={options[whole]}) must be divisible by model.options.{part} (={options[part]})"
        )


def check_options(name: str, options: Mapping[str, Any], required: Sequence[str], optional: Sequence[str] = ()) -> None:
    """Raise a ``ValueError`` that names the first option of model ``name`` that is missing or unknown."""
    allowed = ", ".join([*required, *optional])
    for key in required:
        if key not in options:
            raise ValueError(f"model {name!r} needs model.options.{key}; its options are: {allowed}")
    for key in options:
        if key not in required and key not in optional:
            raise ValueError(f"model {name!r} has no model.options.{key}; its options are: {allowed}")
