"""Scaling of parameter states to zero mean and unit deviation, and back (paper, section 4).

Legend: ``windows`` B, ``params`` P scalars, ``tensors`` T parameter tensors, ``states`` c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import Parameter
from nino.nowcasters.states import States, pieces, require_finite
from nino.ranks import Ranks
from nino.threads import Workers

EPSILON = 1e-6
ScalingMode = Literal["tensor", "network", "none"]
UnscaleMode = Literal["released", "exact"]


@dataclass(frozen=True)
class Scale:
    r"""One group's statistics: :math:`\tilde w = (w - \mathrm{mean}) / (\mathrm{std} + 10^{-6})`.

    Args:
        mean: over all elements and all states.
        std: unbiased, over the same values (0 for a single value).
        epsilon: added to the deviation.
    """

    mean: float
    std: float
    epsilon: float = EPSILON

    @property
    def divisor(self) -> float:
        """What centred states are divided by."""
        return self.std + self.epsilon

    def undo(self, unscale: UnscaleMode) -> tuple[float, float]:
        r"""Weights (a, b) of the prediction :math:`w + a\,\delta + b\,\tilde w` for a scaled update :math:`\delta`.

        ``released`` multiplies by std what was divided by std + 1e-6, as the released weights were used: even an
        update of zero shrinks the deviation from the mean, by 9 % at a std of 1e-5. ``exact`` then returns ``w``.

        >>> Scale(0.0, 1.0).undo("released"), Scale(0.0, 1.0).undo("exact")
        ((1.0, -1e-06), (1.000001, 0.0))
        """
        return (self.std, -self.epsilon) if unscale == "released" else (self.divisor, 0.0)


UNSCALED = Scale(0.0, 1.0, epsilon=0.0)
"""Leaves states and updates as they are."""


class ScaledStates:
    """A network that reads scaled states, or one that was fitted to states as they are.

    Attributes:
        scaled: whether states are scaled for it and its updates scaled back.
        scaling: the default of ``predict``'s argument of that name; None stands for ``tensor``. Users may set it.
    """

    scaled: bool = True
    scaling: ScalingMode | None = None

    def mode(self, asked: ScalingMode | None) -> ScalingMode:
        """How the network's states are scaled.

        Args:
            asked: the mode that the caller asks for; None takes ``scaling``, and ``none`` for a network without.

        Raises:
            ValueError: for a mode that the network was not fitted to.

        >>> ScaledStates().mode(None), ScaledStates().mode("network")
        ('tensor', 'network')
        """
        allowed: tuple[ScalingMode, ...] = ("tensor", "network") if self.scaled else ("none",)
        mode = asked or self.scaling or allowed[0]
        if mode not in allowed:
            fitted = "scaled states" if self.scaled else "states as they are"
            raise ValueError(
                f"`scaling` (={mode!r}): this nowcaster is fitted to {fitted}; allowed is "
                f"{' or '.join(map(repr, allowed))}: leave it out, or fit another nowcaster"
            )
        return mode

    def extra_repr(self) -> str:
        """The mode of scaling, where one is set."""
        return f"scaling={self.scaling!r}" if self.scaling else ""


def measure(
    states: States,
    parameters: Sequence[Parameter],
    mode: ScalingMode,
    workers: Workers,
    ranks: Ranks = Ranks(),  # noqa: B008 (immutable)
) -> list[Scale]:
    """Statistics for every parameter, read a piece at a time in float32 and merged in float64.

    Args:
        states: past states.
        parameters: in flat order.
        mode: ``tensor``: one group a parameter tensor (as the released model is used); ``network``: one for all (as it
            was meta-trained on transformers); ``none``: states are left as they are.
        workers: who read the states.
        ranks: the processes that hold a part of every parameter each.

    Returns:
        A scale for each parameter.

    Raises:
        ValueError: for states that are not finite; names the parameter.
    """
    if mode == "none":
        require_finite(states, parameters)
        return [UNSCALED] * len(parameters)
    everyone = zip(*ranks.agree(_moments(states, parameters, workers)), strict=True)
    owner, n, var, mean = (torch.cat(parts) for parts in everyone)
    groups = len(parameters) if mode == "tensor" else 1
    group = owner if mode == "tensor" else torch.zeros_like(owner)
    count = torch.zeros(groups, dtype=torch.float64).index_add_(0, group, n)
    centre = torch.zeros(groups, dtype=torch.float64).index_add_(0, group, n * mean) / count.clamp(min=1)
    spread = torch.zeros(groups, dtype=torch.float64).index_add_(0, group, n * (var + (mean - centre[group]) ** 2))
    std = (spread / (count - 1).clamp(min=1)).sqrt()
    scales = [Scale(m, s) for m, s in zip(centre.tolist(), std.tolist(), strict=True)]
    return scales if mode == "tensor" else scales * len(parameters)


def _moments(
    states: States, parameters: Sequence[Parameter], workers: Workers
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each piece: its parameter's index, its number of values, their variance and mean."""
    owner: list[int] = []
    read: list[Tensor] = []
    for index, parameter in enumerate(parameters):
        for _, parts in pieces(states, parameter):
            read += parts
            owner += [index] * len(parts)
    moments = list(workers.map(_variance_and_mean, read))
    both = torch.stack(moments).double().cpu() if moments else torch.empty(0, 2, dtype=torch.float64)
    var, mean = both.unbind(1)
    if not bool(torch.isfinite(var + mean).all()):
        require_finite(states, parameters)
        raise ValueError("`states` holds values whose square is beyond float32; scale the model's parameters down")
    sizes = torch.tensor([part.numel() for part in read], dtype=torch.float64)
    return torch.tensor(owner, dtype=torch.long), sizes, var, mean


def _variance_and_mean(part: Float[Tensor, "elements some_states"]) -> Float[Tensor, 2]:
    """Of all values, in float32: several times as fast as ``torch.var_mean``, whose reduction is not vectorised.

    The mean is subtracted twice: the first one is rounded, so that equal values would seem to deviate from it.
    """
    values = part.float()
    mean = values.mean()
    values = values - mean
    rest = values.mean()
    return torch.stack([values.sub_(rest).square_().mean(), mean + rest])


def window_scales(
    states: Float[Tensor, "windows params states"], parameters: Sequence[Parameter], mode: ScalingMode
) -> tuple[Float[Tensor, "windows tensors"], Float[Tensor, "windows tensors"]]:
    """Mean and deviation (std + 1e-6) of each parameter tensor of each window.

    Args:
        states: past states of each window.
        parameters: the parameter tensors, in flat order.
        mode: as in ``measure``.

    Returns:
        Means and divisors.
    """
    if mode == "none":
        plain = states.new_zeros(states.shape[0], len(parameters))
        return plain, torch.ones_like(plain)
    groups = [states] if mode == "network" else [states[:, p.slice] for p in parameters]
    correction = [1 if group[0].numel() > 1 else 0 for group in groups]
    moments = [torch.var_mean(g, dim=(1, 2), correction=n) for g, n in zip(groups, correction, strict=True)]
    mean = torch.stack([m for _, m in moments], dim=1)
    divisor = torch.stack([v for v, _ in moments], dim=1).sqrt() + EPSILON
    if mode == "network":
        return mean.expand(-1, len(parameters)), divisor.expand(-1, len(parameters))
    return mean, divisor
