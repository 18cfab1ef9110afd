"""How the networks' weights begin, without touching the global random generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Perceptron(nn.Module):
    """Linear layers with SiLU between them, named ``fc.0``, ``fc.2``, ... as in the released checkpoints.

    Args:
        sizes: widths, inputs first.
    """

    def __init__(self, *sizes: int) -> None:
        """Create the layers."""
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width_out in zip(sizes, sizes[1:], strict=False):
            layers += [nn.SiLU()] * bool(layers) + [nn.Linear(width_in, width_out)]
        self.fc = nn.Sequential(*layers)

    def linears(self) -> list[nn.Linear]:
        """The linear layers, inputs first."""
        return [layer for layer in self.fc if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        """(..., out) from (..., in)."""
        return self.fc(x)


def initialise(module: nn.Module, seed: int) -> None:
    """Give a module made on the meta device memory on the CPU: weights normal(0, 0.02), biases zero (DESIGN 4).

    Args:
        module: made under ``torch.device("meta")``.
        seed: of a generator of its own.
    """
    module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(0.0, 0.02, generator=generator)
