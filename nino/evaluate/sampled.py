"""Knowing from a random sample that more images are missed than a target allows.

Far from the target a few hundred images show it, where counting one miss after another takes thousands.
"""

from __future__ import annotations

import math

import torch
from scipy.stats import hypergeom
from torch import Tensor

# How likely a check may be to rule out a target that is met. A run of 10,000 steps, a check after each, overlooks its
# first hit less often than once in a million runs.
CHANCE = 1e-10
# A rate of misses is never foreseen closer to 1 than this.
SUREST = 0.99


def chance(group: int, allowed: int, sampled: int, missed: int) -> float:
    r"""How likely a sample is that shows so many misses, where no more than the allowed ones are missed in its group.

    Images are drawn from the group at random, without replacement, so that with :math:`a` missed among its N

    .. math:: P(X \ge x), \quad X \sim \operatorname{Hypergeometric}(N, a, s)

    which grows with a: what it says of the allowed number holds for every smaller one.

    Args:
        group: N, images that the sample is drawn from.
        allowed: a, of 0 .. ``group``.
        sampled: s, images drawn.
        missed: x, how many of them are missed.

    Returns:
        The probability.

    >>> chance(group=4, allowed=2, sampled=2, missed=2)  # one of the six pairs
    0.16666666666666666
    """
    return float(hypergeom.sf(missed - 1, group, allowed, sampled))


def plan(rates: Tensor, allowed: int, chance: float = CHANCE) -> tuple[int, float]:
    r"""The group of hardest images of which the smallest sample is foreseen to be enough.

    Of the h hardest images a share :math:`r_h`, the mean of their rates, is foreseen to be missed, and more than
    :math:`q_h = (a + 1) / h` must be. By Chernoff's bound a sample of

    .. math:: s_h = \frac{-\log \epsilon}{r_h \log \frac{r_h}{q_h} + (1 - r_h) \log \frac{1 - r_h}{1 - q_h}}

    shows it, where :math:`r_h > q_h`.

    Args:
        rates: (n,) how often each image is missed, of 0 .. 1, in descending order.
        allowed: a, misses among all n that the target allows.
        chance: epsilon.

    Returns:
        h and s_h of the group whose sample is smallest; s is infinite where no group is foreseen to be enough.

    >>> rates = torch.cat([torch.full((400,), 0.9), torch.zeros(600)])
    >>> group, sample = plan(rates, allowed=200)
    >>> group, round(sample)
    (400, 63)
    >>> plan(rates, allowed=380)[1]
    inf
    """
    sizes = torch.arange(1, len(rates) + 1, device=rates.device, dtype=torch.float64)
    r = (rates.to(torch.float64).cumsum(0) / sizes).clamp(max=SUREST)  # (n,) by h
    q = (allowed + 1) / sizes
    gained = torch.special.xlogy(r, r / q) + torch.special.xlogy(1 - r, (1 - r) / (1 - q))
    sample = torch.where((q < r) & (q > 0), -math.log(chance) / gained, torch.inf)
    group = int(sample.argmin())
    return group + 1, float(sample[group])
