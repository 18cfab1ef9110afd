"""Architectures of timm, torchvision and transformers by name, from scratch, with the sizes of the data.

``options.model`` names one of the library's; all other options are its own arguments and win over what follows from the
data.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from nino.specs import suggest
from nino.tasks.data import Data
from nino.tasks.torchvision_ops import declare_missing_operators

TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "sep_token_id")
"""Tokens that a configuration of transformers names by number."""


def timm(data: Data, options: Mapping[str, Any]) -> nn.Module:
    """A model of timm for images: ``in_chans``, ``num_classes`` and, where it takes one, ``img_size`` are the data's.

    Args:
        data: a vision data set.
        options: ``model`` (``timm.list_models()`` lists them), and arguments of ``timm.create_model``.

    Raises:
        ValueError: for an unknown model, and arguments that it does not take.
    """
    name, given = _chosen("timm", options)
    declare_missing_operators()
    library = _library("timm")
    if not library.is_model(name):
        raise ValueError(f"model.options.model (={name}): timm has no such model; {_near(name, library.list_models())}")
    channels, height, width = data.shape
    sizes = {"in_chans": channels, "num_classes": data.outputs}
    try:
        try:
            model: nn.Module = library.create_model(name, **{**sizes, "img_size": (height, width), **given})
        except TypeError as error:
            if "img_size" in given or "img_size" not in str(error):
                raise
            model = library.create_model(name, **{**sizes, **given})
    except Exception as error:  # each model refuses arguments in its own way
        raise ValueError(f"model.options of timm's {name}: {_line(error)}") from error
    return model


def torchvision(data: Data, options: Mapping[str, Any]) -> nn.Module:
    """A classification model of torchvision: classes, image size and input channels are the data's.

    Its models are for three channels: for images of another number the first convolution is made anew, with PyTorch's
    default initialisation.

    Args:
        data: a vision data set.
        options: ``model`` (such as ``resnet18``), and arguments of it.

    Raises:
        ValueError: for an unknown model, and arguments that it does not take.
    """
    name, given = _chosen("torchvision", options)
    declare_missing_operators()
    models = _library("torchvision.models")
    if name not in (known := models.list_models(module=models)):
        raise ValueError(f"model.options.model (={name}): torchvision has no such classifier; {_near(name, known)}")
    channels, height, width = data.shape
    sizes: dict[str, Any] = {"weights": None, "num_classes": data.outputs}
    if name.startswith("vit_"):
        sizes["image_size"] = height
    elif name == "maxvit_t":
        sizes["input_size"] = (height, width)
    try:
        model: nn.Module = models.get_model(name, **{**sizes, **given})
    except Exception as error:  # each model refuses arguments in its own way
        raise ValueError(f"model.options of torchvision's {name}: {_line(error)}") from error
    path, first = next((path, each) for path, each in model.named_modules() if isinstance(each, nn.Conv2d))
    if channels != first.in_channels:
        parent, _, attribute = path.rpartition(".")
        setattr(model.get_submodule(parent), attribute, _for_channels(first, channels))
    return model


def transformers(data: Data, options: Mapping[str, Any]) -> nn.Module:
    """A model of transformers: a causal language model for tokens, an image classifier for images.

    Vocabulary, context, image size, channels and classes are the data's. Where the id of one of the configuration's
    special tokens lies outside the vocabulary, it becomes the last id; for the padding token it becomes None.

    Args:
        data: a language or vision data set.
        options: ``model``, a model type (``gpt_neox``, ``vit``) or a name on the hub or local folder whose
            configuration is read, and values of the configuration.

    Raises:
        ValueError: for an unknown model, values that its configuration does not have, and a type without a
            model for the data's task.
    """
    name, given = _chosen("transformers", options)
    declare_missing_operators()
    library = _library("transformers")
    automatic = library.AutoModelForCausalLM if data.kind == "language" else library.AutoModelForImageClassification
    try:
        config = _config(library, name)
        if strange := [key for key in given if key not in (known := _keys(config))]:
            raise ValueError(f"its configuration has no {strange[0]!r}; {_near(strange[0], known)}")
        values = _named(config, {**_sizes(config, data), **given})
        if name in library.CONFIG_MAPPING:  # what follows from other values is worked out from these
            config = type(config)(**values)
        else:
            config = type(config).from_dict({**config.to_dict(), **values})
        model: nn.Module = automatic.from_config(config)
    except Exception as error:  # each model refuses values in its own way
        raise ValueError(f"model.options of transformers' {name}: {_line(error)}") from error
    return model


def _config(library: Any, name: str) -> Any:
    """The default configuration of a model type, or that of a folder or a repository of the hub."""
    if name in library.CONFIG_MAPPING:
        return library.AutoConfig.for_model(name)
    if "/" not in name:
        raise ValueError(f"no model type of transformers and no path; {_near(name, library.CONFIG_MAPPING)}")
    try:
        return library.AutoConfig.from_pretrained(name, local_files_only=True)
    except OSError:  # not on this machine yet
        return library.AutoConfig.from_pretrained(name)


def _keys(config: Any) -> set[str]:
    """The names of a configuration's values."""
    return {*config.to_dict(), *config.attribute_map}


def _sizes(config: Any, data: Data) -> dict[str, Any]:
    """The values that a configuration has and that follow from the data."""
    if data.kind == "language":
        block, vocabulary = data.shape[0], data.outputs
        sizes: dict[str, Any] = {"vocab_size": vocabulary, "max_position_embeddings": block, "use_cache": False}
        sizes["is_decoder"] = True  # what can also be an encoder must not see the tokens that it is to predict
        for token in TOKENS:
            if (number := getattr(config, token, None)) is not None and not 0 <= _first(number) < vocabulary:
                sizes[token] = None if token == "pad_token_id" else vocabulary - 1
    else:
        channels, height, width = data.shape
        sizes = {"num_channels": channels, "image_size": height if height == width else [height, width]}
        sizes |= {"id2label": {str(i): f"LABEL_{i}" for i in range(data.outputs)}}
        sizes |= {"label2id": {f"LABEL_{i}": i for i in range(data.outputs)}}
    return {key: value for key, value in sizes.items() if key in _keys(config)}


def _named(config: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the names under which a configuration keeps them."""
    return {config.attribute_map.get(key, key): value for key, value in values.items()}


def _first(number: Any) -> int:
    return int(number[0] if isinstance(number, list) else number)


def _chosen(library: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The model that options name, and the options left for it."""
    if not isinstance(name := options.get("model"), str):
        raise ValueError(f"model {library!r} needs model.options.model, the name of one of its models")
    return name, {key: tuple(v) if isinstance(v, list) else v for key, v in options.items() if key != "model"}


def _library(name: str) -> Any:
    """An installed library.

    Raises:
        ValueError: where it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        raise ValueError(f"model {package!r} needs the package {package}: pip install {package}") from error


def _line(error: Exception) -> str:
    """An error's message in one line."""
    return textwrap.shorten(str(error), 300) or type(error).__name__


def _near(name: str, known: Iterable[str]) -> str:
    """The beginning of a suggestion: libraries have hundreds of models."""
    near = suggest(name, known).partition(" Allowed")[0]
    return near if near.startswith("did you mean") else "see its documentation for those it has"


def _for_channels(old: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The same convolution for images of another number of channels."""
    return nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]  # pairs, as all that follow
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
