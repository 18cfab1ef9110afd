"""From a prediction to the parameters: checked as a whole, then written into their own storage, on every rank alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nino.optim.shards import Shard, local


@dataclass
class Target:
    """A parameter that nowcasts write.

    Args:
        parameter: as the model holds it.
        offset: of the first element of ``present`` in predictions.
        present: the elements that this process predicts; all of them where it is alone.
        shard: which these are.
        master: whether ``present`` is what the base optimizer keeps of the parameter in higher precision.
    """

    parameter: Tensor
    offset: int
    present: Tensor
    shard: Shard | None = None
    master: bool = False

    @property
    def part(self) -> slice:
        """Its elements in predictions."""
        return slice(self.offset, self.offset + self.present.numel())


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
        """The new value of what this process predicts of one parameter, in its dtype, rounded once."""
        present = target.present
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
        """Whether every new value is finite, and the square of the L2 norm of the change."""
        finite, square = True, 0.0
        for target in targets:
            new = self.value(target)
            finite = finite and bool(new.to(target.parameter.dtype).isfinite().all())
            change = new.to(torch.float32) - target.present.to(torch.float32)
            square += float(torch.linalg.vector_norm(change, dtype=torch.float64)) ** 2
        return finite, square


@torch.no_grad()
def write(jump: Jump, targets: list[Target]) -> None:
    """Write a jump into the parameters, in place: storage, dtype and memory format stay.

    Args:
        jump: each process's part.
        targets: parameters to write, the same on every rank.
    """
    for target in targets:
        new = jump.value(target)
        if target.shard is not None:
            new = target.shard.give(new, target.parameter)
        local(target.parameter).copy_(new)


@torch.no_grad()
def write_masters(jump: Jump, targets: list[Target]) -> set[int]:
    """Write a jump into the masters of parameters that have been written; returns the addresses of these masters."""
    masters = [target for target in targets if target.master]
    for target in masters:
        target.present.copy_(jump.value(target))
    return {target.present.data_ptr() for target in masters}


@torch.no_grad()
def snapshot(targets: list[Target]) -> Callable[[], None]:
    """Copy the parameters; calling the result puts them back, bit for bit."""
    saved = [local(t.parameter).clone() for t in targets]

    @torch.no_grad()
    def restore() -> None:
        for target, value in zip(targets, saved, strict=True):
            local(target.parameter).copy_(value)

    return restore
