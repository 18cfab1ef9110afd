"""From a prediction to the parameters: checked as a whole, then written into their own storage, on every rank alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nino.ranks import Ranks


@dataclass
class Target:
    """A parameter that nowcasts write, and the place of its first element among all P of the model."""

    parameter: Tensor
    offset: int

    @property
    def part(self) -> slice:
        """Its elements among all P of the model."""
        return slice(self.offset, self.offset + self.parameter.numel())


@dataclass
class Jump:
    """A predicted change of the parameters.

    Args:
        prediction: (P,) float32 predicted parameters.
        last: (P,) the last saved state, as the nowcaster saw it; None where it equals the parameters exactly.
        scale: factor on the change: 1 takes the prediction, 0 keeps the last state exactly.
    """

    prediction: Float[Tensor, " params"]
    last: Float[Tensor, " params"] | None
    scale: float = 1.0

    def value(self, target: Target) -> Tensor:
        """The new value of one parameter in its own shape and dtype, rounded once."""
        present = target.parameter.detach()
        if self.scale == 0:
            return present
        wide = torch.promote_types(present.dtype, torch.float32)
        predicted = self.prediction[target.part].to(present.device).view(present.shape)
        if self.scale == 1 and self.last is None:
            return predicted.to(present.dtype)
        start = present.to(wide)
        seen = start if self.last is None else self.last[target.part].to(present.device, wide).view(present.shape)
        return (start + self.scale * (predicted.to(wide) - seen)).to(present.dtype)

    def measure(self, targets: list[Target]) -> tuple[bool, float]:
        """Whether every new value is finite, and the L2 norm of the change."""
        finite, square = True, 0.0
        for target in targets:
            new = self.value(target)
            finite = finite and bool(new.isfinite().all())
            change = new.to(torch.float32) - target.parameter.detach().to(torch.float32)
            square += float(torch.linalg.vector_norm(change, dtype=torch.float64)) ** 2
        return finite, square**0.5


@torch.no_grad()
def write(jump: Jump | None, targets: list[Target], ranks: Ranks) -> None:
    """Write a jump into the parameters; every rank ends with rank 0's values.

    Args:
        jump: rank 0's jump; None on the others.
        targets: parameters to write, the same on every rank.
        ranks: that train together.
    """
    for target in targets:
        parameter = target.parameter.detach()
        new = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
        if jump is not None:
            new.copy_(jump.value(target))
        ranks.broadcast(new)
        target.parameter.copy_(new)  # in place: storage, dtype and memory format stay


@torch.no_grad()
def snapshot(targets: list[Target]) -> Callable[[], None]:
    """Copy the parameters; calling the result puts them back, bit for bit."""
    saved = [t.parameter.detach().clone() for t in targets]

    @torch.no_grad()
    def restore() -> None:
        for target, value in zip(targets, saved, strict=True):
            target.parameter.copy_(value)

    return restore
