"""When nowcasts happen and how far they reach."""

from __future__ import annotations

from dataclasses import dataclass

from nino.specs.base import Spec
from nino.specs.values import Count, NonNegative, Several


@dataclass(frozen=True)
class ScheduleSpec(Spec):
    r"""When nowcasts happen and how far they reach.

    The horizon of nowcast i of a run of T steps is ``round(linspace(K^(1/p), 1, T / period)^p)[i]`` states.

    Args:
        period: between nowcasts, a multiple of context [steps].
        context: states c kept for a nowcast, period / context steps apart [states].
        max_horizon: horizon k of the first nowcast; it decays to 1 [states].
        power: exponent p of the decay; 0 keeps k at max_horizon [exponent].
    """

    period: Count = 1000
    context: Several = 5
    max_horizon: Count = 40
    power: NonNegative = 2.0
