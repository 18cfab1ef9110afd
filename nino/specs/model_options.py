"""Options of the architectures: what only one of them knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from nino.specs.base import Spec
from nino.specs.values import Allowed, Count, Number, Probability, Word, YesNo


@dataclass(frozen=True)
class ConvnetOptions(Spec):
    """Options of the architecture convnet.

    Args:
        channels: output channels of each 3x3 convolution [channels].
    """

    channels: Annotated[tuple[Count, ...], Allowed(min_length=1)]


@dataclass(frozen=True)
class TransformerOptions(Spec):
    """Options of every transformer.

    Args:
        layers: transformer blocks [blocks].
        width: width d of the residual stream, a multiple of heads [neurons].
        heads: attention heads [heads].
    """

    layers: Count
    width: Count
    heads: Count


def misfits(key: str, options: Mapping[str, Any]) -> Iterator[str]:
    """What of a transformer's options does not fit together: a sentence each.

    Args:
        key: of the options, dotted.
        options: of an architecture that derives its own from `TransformerOptions`.
    """
    for whole, part in (("width", "heads"), ("heads", "kv_heads")):
        if options.get(part) and options[whole] % options[part]:
            yield f"{key}.{whole} (={options[whole]}) must be a multiple of {key}.{part} (={options[part]})"


@dataclass(frozen=True)
class GPT2Options(TransformerOptions):
    """Options of the architecture gpt2.

    Args:
        dropout: dropout of embeddings, attention and residual [fraction].
    """

    dropout: Probability = 0.0


@dataclass(frozen=True)
class LlamaOptions(TransformerOptions):
    """Options of the architecture llama.

    Args:
        heads: query heads, a multiple of kv_heads [heads].
        kv_heads: key and value heads, each shared by a group of query heads [heads; default as many as heads].
        inner: width of the gated MLP [neurons; default four times width].
        tied: whether the head is the word embedding [yes or no].
    """

    kv_heads: Count | None = None
    inner: Count | None = None
    tied: YesNo = False


@dataclass(frozen=True, kw_only=True)
class ViTOptions(TransformerOptions):
    """Options of the architecture vit.

    Args:
        patch: side of a patch, a divisor of the image's [pixels].
        inner: width of the MLP [neurons; default four times width].
        dropout: dropout of embeddings and residual [fraction].
    """

    patch: Count
    inner: Count | None = None
    dropout: Probability = 0.0


@dataclass(frozen=True)
class MLPOptions(Spec):
    """Options of the architecture mlp.

    Args:
        hidden: widths of the hidden layers, from input to output; an empty list is a linear model [neurons].
        activation: what follows each hidden layer [name].
    """

    hidden: tuple[Count, ...]
    activation: Annotated[str, Allowed(names=("relu", "gelu", "silu", "tanh"))] = "relu"


OfLibrary = dict[
    str,
    Annotated[
        Number | Word | YesNo | list[Any],
        Allowed(meaning="model, one of the library's, or an argument of it [as it takes it; default the library's]"),
    ],
]

MODEL_OPTIONS: dict[str, Any] = {
    "convnet": ConvnetOptions,
    "gpt2": GPT2Options,
    "llama": LlamaOptions,
    "mlp": MLPOptions,
    "timm": OfLibrary,
    "torchvision": OfLibrary,
    "transformers": OfLibrary,
    "vit": ViTOptions,
}
"""By name. ``OfLibrary`` models of other libraries, each chosen by its option ``model``."""

MODEL_KINDS = {
    **dict.fromkeys(("convnet", "timm", "torchvision", "vit"), ("vision",)),
    **dict.fromkeys(("gpt2", "llama"), ("language",)),
    "mlp": ("vision", "table"),
    "transformers": ("vision", "language"),
}
"""What kinds of data each architecture is for."""

LIBRARIES = tuple(name for name, kind in MODEL_OPTIONS.items() if kind is OfLibrary)


def unfit(model: str, kind: str) -> str | None:
    """Why an architecture cannot be trained on data of a kind; None where it can, and for one from outside.

    >>> unfit("gpt2", "table")
    'is for language data, and these are table data; use mlp or one of your own, FILE.py:NAME'
    """
    if kind in (kinds := MODEL_KINDS.get(model, (kind,))):
        return None
    fitting = ", ".join(name for name, each in MODEL_KINDS.items() if kind in each)
    return (
        f"is for {' and '.join(kinds)} data, and these are {kind} data; use {fitting} or one of your own, FILE.py:NAME"
    )
