"""Feed-forward networks, read off the module tree."""

from __future__ import annotations

from torch import nn

from nino.graphs.builder import GraphBuilder, Neurons


def declare_generic(b: GraphBuilder, model: nn.Module) -> None:
    """Declare linear layers, convolutions and norms one after another, in the module tree's order."""
    x: Neurons | None = None
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            weight = b.weight(f"{name}.weight" if name else "weight")
            if x is None:
                x = b.group("input", weight.shape[1], fixed=True)
            y = b.group(name or "output", weight.shape[0], fixed=module is layers[-1][1])
            b.linear(x, y, name)
            x = y
        elif x is not None and f"{name}.weight" in b:
            b.norm(x, name)
