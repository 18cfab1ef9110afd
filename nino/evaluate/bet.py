"""Knowing from a random sample that more images are missed than a target allows.

Far from the target a few hundred images show it, where counting one miss after another takes thousands.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# How likely a check may be to rule out a target that is met, and so a run to overlook its first hit: the checks before
# it, of steps that meet no target, cannot be wrong.
CHANCE = 1e-6
# The share of the capital that a draw may take.
RISK = 0.75
# Draws that what is foreseen counts for, beside what the draws have shown.
TRUST = 256


class Bet:
    r"""A bet against the claim that a target is met, on images drawn at random from those not looked at.

    Let :math:`y_i = 1` where image i is missed, :math:`\sum_i y_i \le a` by the claim. Once some images are looked at,
    the claim is that the u others have at most :math:`a_u`, what is left of a. They are drawn with replacement, image i
    with probability :math:`\pi_i`, and with the rates :math:`p_i` that are foreseen a draw gives

    .. math:: z = \frac{y_i - p_i}{u \pi_i} + \bar p - \frac{a_u}{u}, \quad E[z] = \frac{\sum_i y_i - a_u}{u},

    no more than 0 if the claim holds. So a capital of 1 that each draw multiplies by :math:`1 + \lambda z`, with rates,
    :math:`\pi` and a stake :math:`\lambda` set before the draw, is a supermartingale then: whatever the misses, however
    far off the rates, whenever one stops, it comes to :math:`1 / \epsilon` with a probability of at most
    :math:`\epsilon` (Ville's inequality; Waudby-Smith and Ramdas, 2024). Rates that are foreseen well only make it grow
    faster, as does :math:`\pi_i \propto \sqrt{p_i (1 - p_i)}`: images that are surely missed, or surely not, are hardly
    looked at.

    Args:
        chance: epsilon.

    >>> bet = Bet()
    >>> bet.foresee(torch.full((10000,), 0.6), allowed=1000)
    True
    >>> bet.foresee(torch.full((10000,), 0.6), allowed=7000)
    False
    """

    def __init__(self, chance: float = CHANCE) -> None:
        """See the class."""
        self._goal, self._log = -math.log(chance), 0.0
        self._draws, self._excess = TRUST, 0.0  # the sum of (p - y) / (u pi) over all draws: rates foreseen too high

    def foresee(self, rates: Tensor, allowed: int) -> bool:
        r"""Set the chances and the stake of the next draws.

        Args:
            rates: (u,) floating point, how often each image not looked at is foreseen to be missed, 0 < p < 1.
            allowed: :math:`a_u`, misses among them that the target allows.

        Returns:
            Whether the rates speak against the claim; where they do not, there is nothing to bet on.
        """
        self._rates = rates.double()
        spread = (self._rates * (1 - self._rates)).sqrt()
        self._chances = spread / spread.sum()
        self._weights = spread.mean() / spread  # 1 / (u chances)
        self._lead = float(self._rates.mean()) - allowed / len(rates)
        likely = self._lead - self._excess / self._draws
        square = float(spread.mean()) ** 2 + likely**2  # E[z^2] where the rates are right
        worst = self._lead - float((self._rates * self._weights).max())
        most = RISK / -worst if worst < 0 else math.inf
        self._stake = min(max(0.0, likely / square), most)  # where the capital is foreseen to grow fastest
        return self._stake > 0

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) int64, places in the rates; the generator lies where they do."""
        return torch.multinomial(self._chances, count, replacement=True, generator=generator)

    def settle(self, drawn: Tensor, missed: Tensor) -> bool:
        """Take in whether images are missed.

        Args:
            drawn: (count,) int64 from ``draw``.
            missed: (count,) of 0 and 1.

        Returns:
            Whether the bet is won: more are missed than the target allows.
        """
        gains = self.gains(drawn, missed)
        self._log += float(torch.log1p(self._stake * gains).sum())
        self._draws += len(drawn)
        self._excess += float((self._lead - gains).sum())
        return self._log >= self._goal

    def gains(self, drawn: Tensor, missed: Tensor) -> Tensor:
        """(count,) float64, z of each draw."""
        return (missed - self._rates[drawn]) * self._weights[drawn] + self._lead
