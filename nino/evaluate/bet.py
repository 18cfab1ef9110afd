"""Knowing from a random sample that more images are missed than a target allows.

Far from the target a few hundred images show it, where counting one miss after another takes thousands.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# How likely a check may be to rule out a target that is met, and so a run to overlook its first hit: the checks before
# it, of steps that meet no target, cannot be wrong.
CHANCE = 1e-10
# A rate of misses is foreseen no closer to 0 or 1 than this.
EDGE = 0.05
# The share of the capital that a draw may take.
RISK = 0.75
# Draws that what is foreseen counts for, beside what the draws have shown.
TRUST = 128


class Bet:
    r"""A bet against the claim that a target is met, on images drawn at random.

    Let n images have :math:`y_i = 1` where they are missed, at most a of them by the claim. They are drawn with
    replacement, image i with probability :math:`\pi_i`, and with the rates :math:`p_i` that are foreseen a draw gives

    .. math:: z = \frac{y_i - p_i}{n \pi_i} + \bar p - \frac{a}{n}, \quad E[z] = \frac{\sum_i y_i - a}{n},

    no more than 0 if the claim holds. So a capital of 1 that each draw multiplies by :math:`1 + \lambda z`, with a
    stake :math:`\lambda` set before the draw, is a supermartingale then: whatever the misses, however far off the
    rates, whenever one stops, it comes to :math:`1 / \epsilon` with a probability of at most :math:`\epsilon` (Ville's
    inequality; Waudby-Smith and Ramdas, 2024). Rates that are foreseen well only make it grow faster, as does
    :math:`\pi_i \propto \sqrt{p_i (1 - p_i)}`: images that are surely missed, or surely not, are hardly looked at.

    Args:
        rates: (n,) floating point, how often each image is foreseen to be missed, of 0 .. 1.
        allowed: a, misses that the target allows, of 0 .. n.
        chance: epsilon.

    Attributes:
        draws: foreseen to be needed; infinite where the rates do not speak against the claim.

    >>> bet = Bet(torch.full((10000,), 0.6), allowed=1000)
    >>> round(bet.draws)
    90
    >>> Bet(torch.full((10000,), 0.6), allowed=7000).draws
    inf
    """

    def __init__(self, rates: Tensor, allowed: int, chance: float = CHANCE) -> None:
        """See the class."""
        n = len(rates)
        self._rates = rates.double().clamp(EDGE, 1 - EDGE)
        spread = (self._rates * (1 - self._rates)).sqrt()
        self._chances = spread / spread.sum()
        self._weights = spread.mean() / spread  # 1 / (n chances)
        self._lead = float(self._rates.mean()) - allowed / n
        self._worst = self._lead - float((self._rates * self._weights).max())
        square = float(spread.mean()) ** 2 + self._lead**2  # E[z^2] where the rates are right
        self._seen = TRUST * torch.tensor([self._lead, square], dtype=torch.float64)  # sums of z and z^2
        self._goal, self._log = -math.log(chance), 0.0
        stake = self._stake()
        growth = stake * self._lead - (stake**2) * square / 2  # of the logarithm, a draw
        self.draws = self._goal / growth if growth > 0 else math.inf

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) int64, images; the generator lies where the rates do."""
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
        self._log += float(torch.log1p(self._stake() * gains).sum())
        self._seen += torch.stack([gains, gains.square()]).sum(1).cpu()
        return self._log >= self._goal

    def gains(self, drawn: Tensor, missed: Tensor) -> Tensor:
        """(count,) float64, z of each draw."""
        return (missed - self._rates[drawn]) * self._weights[drawn] + self._lead

    def _stake(self) -> float:
        """Where the capital is foreseen to grow fastest, but no draw may take more than the risk."""
        total, squares = self._seen.tolist()
        most = RISK / -self._worst if self._worst < 0 else math.inf
        return min(max(0.0, total / squares), most)
