"""A sequential test that shows, from a random sample of images, that a network misses more than a target allows.

Far from the target a few hundred images decide, where counting misses one after another takes thousands.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Probability with which one check may rule out a target that is met, so that the run's first hit is overlooked. Checks
# of earlier steps, which meet no target, cannot be wrong.
ERROR_PROBABILITY = 1e-6
# Share of the capital that one draw may lose at most.
LARGEST_LOSS = 0.75
# The forecast's bias is estimated from the draws, and shrunk towards 0 as by this many draws without any.
PRIOR_DRAWS = 256


class SequentialTest:
    r"""Tests the claim that a target is met on images drawn at random from those that have not been evaluated.

    Let :math:`y_i = 1` where image i is missed. The claim is :math:`\sum_i y_i \le a`. Once some images have been
    evaluated, it says that the other u have at most :math:`a_u` misses, which is a minus the misses so far. They are
    drawn with replacement, image i with probability :math:`\pi_i`. With forecast miss rates :math:`p_i`, each draw
    gives

    .. math:: z = \frac{y_i - p_i}{u \pi_i} + \bar p - \frac{a_u}{u}, \quad E[z] = \frac{\sum_i y_i - a_u}{u},

    whose mean is at most 0 if the claim holds. The test bets against the claim: it starts with a capital of 1, and
    each draw multiplies the capital by :math:`1 + \lambda z`. As :math:`p`, :math:`\pi` and the stake :math:`\lambda`
    are chosen before the draw, the capital is a supermartingale under the claim. It therefore reaches
    :math:`1 / \epsilon` with probability at most :math:`\epsilon`, whichever images are missed, however wrong the
    forecast is, and whenever the test stops (Ville's inequality; Waudby-Smith and Ramdas, "Estimating means of bounded
    random variables by betting", 2024). A good forecast only makes the capital grow faster, as does
    :math:`\pi_i \propto \sqrt{p_i (1 - p_i)}`, which seldom draws images whose outcome is nearly certain.

    Args:
        error_probability: :math:`\epsilon`.

    >>> test = SequentialTest()
    >>> test.set_forecast(torch.full((10000,), 0.6), allowed=1000)
    True
    >>> test.set_forecast(torch.full((10000,), 0.6), allowed=7000)
    False
    """

    def __init__(self, error_probability: float = ERROR_PROBABILITY) -> None:
        """See the class."""
        self._log_goal, self._log_capital = -math.log(error_probability), 0.0
        self._draws, self._excess = PRIOR_DRAWS, 0.0  # the sum of (p - y) / (u pi) over all draws: rates too high

    def set_forecast(self, rates: Tensor, allowed: int) -> bool:
        r"""Set the probabilities and the stake of the next draws.

        Args:
            rates: (u,) floating point, forecast miss rates of the images that have not been evaluated, 0 < p < 1.
            allowed: :math:`a_u`, the number of them that the target allows to be missed.

        Returns:
            Whether the forecast contradicts the claim; if not, the stake is 0 and draws would show nothing.
        """
        self._rates = rates.double()
        spread = (self._rates * (1 - self._rates)).sqrt()
        self._probabilities = spread / spread.sum()
        self._weights = spread.mean() / spread  # 1 / (u pi)
        self._lead = float(self._rates.mean()) - allowed / len(rates)
        expected = self._lead - self._excess / self._draws  # of z
        square = float(spread.mean()) ** 2 + expected**2  # E[z^2] if the rates are right
        worst = self._lead - float((self._rates * self._weights).max())
        largest = LARGEST_LOSS / -worst if worst < 0 else math.inf
        self._stake = min(max(0.0, expected / square), largest)  # about where the log of the capital grows fastest
        return self._stake > 0

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw images: (count,) int64 indices into ``rates``; the generator is on their device."""
        return torch.multinomial(self._probabilities, count, replacement=True, generator=generator)

    def update(self, drawn: Tensor, missed: Tensor) -> bool:
        """Update the capital with the outcome of draws.

        Args:
            drawn: (count,) int64 from ``draw``.
            missed: (count,) of 0 and 1, whether each of these images is missed.

        Returns:
            Whether the claim is rejected: more images are missed than the target allows.
        """
        z = self.gains(drawn, missed)
        self._log_capital += float(torch.log1p(self._stake * z).sum())
        self._draws += len(drawn)
        self._excess += float((self._lead - z).sum())
        return self._log_capital >= self._log_goal

    def gains(self, drawn: Tensor, missed: Tensor) -> Tensor:
        """(count,) float64, z of each draw."""
        return (missed - self._rates[drawn]) * self._weights[drawn] + self._lead
