"""Losses on held-out trajectories, of a nowcaster and of predicting no change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from nino.metatrain.optimize import Precision, loss_of
from nino.metatrain.sampler import WindowSampler
from nino.metatrain.training_windows import Windows
from nino.nowcasters import NiNoNet, WNNPlus
from nino.nowcasters.scaling import ScalingMode, window_scales
from nino.ranks import Ranks


@dataclass(frozen=True)
class Validation:
    """Mean losses over held-out windows, by task.

    Args:
        loss: of the nowcaster.
        identity: of predicting the last state whatever the horizon; a nowcaster must stay below it.
    """

    loss: dict[str, float]
    identity: dict[str, float]

    @property
    def mean_loss(self) -> float:
        """The mean over tasks."""
        return sum(self.loss.values()) / len(self.loss)

    @property
    def mean_identity(self) -> float:
        """The mean over tasks."""
        return sum(self.identity.values()) / len(self.identity)


def validate(
    net: NiNoNet | WNNPlus, sampler: WindowSampler, precision: Precision, engine: str, ranks: Ranks | None = None
) -> Validation | None:
    """Measure a nowcaster on all held-out windows.

    Args:
        net: the nowcaster.
        sampler: of the windows.
        precision: device and number format.
        engine: of the nowcaster's training loss.
        ranks: the processes that share the windows; None does all of them here.

    Returns:
        The losses, the same in every process; None where nothing is held out.
    """
    ranks = ranks or Ranks()
    mine = []
    with torch.no_grad():
        for number, draw in ranks.mine(list(enumerate(sampler.validation_draws()))):
            windows = sampler.windows(draw).to(precision.device)
            loss = loss_of(net, [windows], sampler.spec, precision, engine)
            mine.append((number, draw.task, loss.item(), identity_loss(windows, sampler.spec.scaling).item()))
    losses: dict[str, list[float]] = {}
    identities: dict[str, list[float]] = {}
    for _, task, of_net, of_identity in sorted(row for part in ranks.gather(mine) for row in part):
        losses.setdefault(task, []).append(of_net)
        identities.setdefault(task, []).append(of_identity)
    if not losses:
        return None
    return Validation(*({task: sum(v) / len(v) for task, v in each.items()} for each in (losses, identities)))


def identity_loss(windows: Windows, scaling: str) -> Tensor:
    r"""The training loss of predicting no change, :math:`\hat w_{t+k} = w_t`, in the same scaled units.

    Args:
        windows: the windows.
        scaling: ``tensor``, ``network`` or ``none``.

    Returns:
        A scalar: mean over predicted parameters, windows and unmasked horizons of
        :math:`|w_{t+k} - w_t| / (\mathrm{std} + 10^{-6})`.
    """
    graph, mask = windows.graph, windows.mask
    _, divisors = window_scales(windows.states, graph.parameters, cast(ScalingMode, scaling))
    total, count = windows.values.new_zeros(()), 0
    for i, parameter in enumerate(graph.parameters):
        if parameter.name in graph.carried:
            continue
        error = windows.targets[:, parameter.slice] - windows.states[:, parameter.slice, -1:]
        error = error.abs().sum(dim=1) / divisors[:, i, None]
        total = total + error[mask].sum()
        count += parameter.numel
    return total / (count * mask.sum())
