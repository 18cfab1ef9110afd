"""Nowcasters without weights: the line fit, and the controls that bound a results table."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import Parameter
from nino.nowcasters.pointwise import Pointwise
from nino.seeding import derive


class Identity(Pointwise):
    """No jump: the last state, rounded to float32."""

    context = None

    def update(
        self, states: Float[Tensor, "elements states"], k: int, parameter: Parameter
    ) -> Float[Tensor, " elements"]:
        """Zero."""
        return states.new_zeros(states.shape[0])


class LineFit(Pointwise):
    r"""Least squares through the c states of each scalar, extrapolated k states.

    .. math:: \hat w_{t+k} = \bar w + (c - 1 + k - \bar j)
        \frac{\sum_j (j - \bar j) w_j}{\sum_j (j - \bar j)^2}, \qquad j = 0 \dots c - 1
    """

    context = None

    def update(
        self, states: Float[Tensor, "elements states"], k: int, parameter: Parameter
    ) -> Float[Tensor, " elements"]:
        """The line's value minus the last state; differences to the last state keep its digits."""
        return (states - states[:, -1:]) @ line_weights(states.shape[1], k).to(states)


def line_weights(c: int, k: int) -> Float[Tensor, " states"]:
    """Weights of the c states in a line fit's value k states after the last; they sum to 1.

    >>> line_weights(2, 1)
    tensor([-1.,  2.], dtype=torch.float64)
    """
    j = torch.arange(c, dtype=torch.float64)
    centred = j - j.mean()
    return 1 / c + centred * (c - 1 + k - j.mean()) / centred.square().sum()


class RandomJump(LineFit):
    """Control: in every parameter tensor a jump in a random direction, of the same length as the line fit's.

    Directions are drawn from ``seed``, the horizon, the parameter's name and its last state, never from the global
    generator: they are the same for the same states (also after a resume), and differ from nowcast to nowcast.

    Args:
        seed: of the directions.
    """

    equivariant = False

    def __init__(self, seed: int = 0) -> None:
        """Remember the seed."""
        self.seed = seed

    def finish(self, out: Float[Tensor, " params"], states: Any, k: int, parameter: Parameter) -> None:
        """Replace the line fit's jump by a random one of its norm."""
        prediction = out[parameter.slice]
        last = states.parts(parameter)[-1][:, -1].float()
        length = (prediction - last).norm()
        content = zlib.crc32(last[: 1 << 16].cpu().numpy().tobytes())
        generator = torch.Generator().manual_seed(derive(self.seed, f"jump/{k}/{parameter.name}/{content}"))
        direction = torch.randn(parameter.numel, generator=generator).to(out.device)
        prediction.copy_(last).add_(direction * (length / direction.norm().clamp(min=1e-30)))
