"""The body of a transformers model, and the linear layers that stand on it."""

from __future__ import annotations

from typing import Any

from torch import nn

from nino.graphs.builder import GraphBuilder
from nino.graphs.neurons import Neurons


def body_of(model: Any) -> tuple[Any, str]:
    """The headless model inside ``model`` and the prefix of its parameters' names."""
    body = model.base_model
    name = next(name for name, module in model.named_modules() if module is body)
    return body, f"{name}." if name else ""


def linear_heads(b: GraphBuilder, model: nn.Module, body: nn.Module, x: Neurons) -> None:
    """Declare the linear layers outside ``body`` that read ``x``: untied language heads, classifiers.

    They are ordinary ``nn.Linear``, (out, in), also where the body's own layers are stored transposed. Without any
    layer on top, ``x`` is what the model returns and keeps its order.

    Args:
        b: the builder.
        model: the model.
        body: the part of it that is declared already (may be the model itself).
        x: the last residual neurons.
    """
    if model is body:
        b.fix(x)
    inside = set(body.modules())
    for name, module in model.named_modules():
        if module not in inside and isinstance(module, nn.Linear) and module.in_features == x.size:
            if f"{name}.weight" in b and not b.placed(f"{name}.weight"):
                b.linear(x, b.group(name, module.out_features, fixed=True), name)
