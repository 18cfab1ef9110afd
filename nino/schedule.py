"""When a training saves its states, when a nowcast takes a step's place, and how far that nowcast reaches.

Pure arithmetic: the optimizer, the config's checks, the evaluation, the report and the plan all ask this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def horizons(total_steps: int, period: int, max_horizon: int = 40, power: float = 2.0) -> list[int]:
    r"""The horizon k of every nowcast of a run, decaying from ``max_horizon`` to 1 (the paper's k-decay).

    .. math:: k_i = \mathrm{round}\Big(\big(K^{1/p} + \tfrac{i}{n-1}(1 - K^{1/p})\big)^p\Big), \quad
              n = \lfloor T / \mathrm{period} \rfloor, \; i = 0, \dots, n-1

    Args:
        total_steps: T, steps of the whole run; at least ``period``.
        period: steps between nowcasts.
        max_horizon: K, in states; at least 1.
        power: p of the decay, 0 or more; 0 keeps k at K.

    Returns:
        n horizons, the first of them K.

    Raises:
        ValueError: for an argument out of its range; names it.

    Source: Knyazev et al., ICLR 2025, figure 12 (appendix).

    >>> horizons(10000, 1000)
    [40, 33, 26, 21, 16, 11, 8, 5, 3, 1]
    >>> horizons(3000, 1000, max_horizon=7, power=0)
    [7, 7, 7]
    """
    if period < 1:
        raise ValueError(f"`period` (={period}) must be at least 1 step")
    if total_steps < period:
        raise ValueError(
            f"`max_train_steps` (={total_steps}) must be at least one `period` (={period}): there would be no nowcast; "
            f"pass a shorter period, or train with the base optimizer alone (nowcaster=None)"
        )
    if max_horizon < 1:
        raise ValueError(f"`max_horizon` (={max_horizon}) must be at least 1 state")
    if not 0 <= power < math.inf:
        raise ValueError(
            f"`power` (={power}) must be a number from 0; 0 keeps the horizon fixed, 2 is the paper's decay"
        )
    n = total_steps // period
    if power == 0:
        return [max_horizon] * n
    first = max_horizon ** (1 / power)
    return [round((first + (1 - first) * i / max(n - 1, 1)) ** power) for i in range(n)]


def horizons_under(
    rate: Callable[[int], float],
    total_steps: int,
    period: int,
    context: int = 5,
    spacing: int | None = None,
    max_horizon: int = 40,
    power: float = 2.0,
) -> list[int]:
    r"""The horizons of `horizons`, shortened to how far a decaying learning rate will still carry the weights.

    A nowcaster continues the movement of the states that it reads as if the learning rate stayed as it was. With
    learning rate :math:`\eta_t` of step t, 0 after the last, the nowcast at step t whose horizon would be k gets

    .. math:: k' = \min\Big(k, \max\Big(1, \mathrm{round}\, \frac{1}{s \bar\eta}
              \sum_{j=0}^{k s - 1} \eta_{t+j}\Big)\Big), \quad \bar\eta \text{ the mean of } \eta
              \text{ over the } (c - 1) s \text{ steps between the states}

    so that a constant learning rate changes nothing. This is not in the paper, which trains at constant rates.

    Args:
        rate: the learning rate of step t (from 1) in any unit, such as the factor of a ``LambdaLR``.
        total_steps: T, steps of the whole run; at least ``period``.
        period: steps between nowcasts.
        context: states c that a nowcast reads, 2 or more.
        spacing: s, steps between states; None takes ``period / context``.
        max_horizon: K of the decay, in states.
        power: p of the decay.

    Returns:
        A horizon for each nowcast.

    Raises:
        ValueError: for an argument out of its range, or a learning rate that is no number from 0; names it.

    >>> horizons_under(lambda step: 1e-3, 10000, 1000)
    [40, 33, 26, 21, 16, 11, 8, 5, 3, 1]
    >>> horizons_under(lambda step: 1 - step / 10000, 10000, 1000)
    [21, 18, 15, 13, 10, 7, 5, 3, 2, 1]
    """
    schedule = Schedule.make(
        period=period,
        context=context,
        spacing=spacing,
        max_train_steps=total_steps,
        max_horizon=max_horizon,
        power=power,
    )
    if context < 2:
        raise ValueError(f"`context` (={context}) must be at least 2 states: one has no movement")
    rates = [float(rate(step)) for step in range(1, total_steps + 1)]
    for step, value in enumerate(rates, 1):
        if not 0 <= value < math.inf:
            raise ValueError(f"`rate` (={value} at step {step}) must be a number from 0")

    def shortened(step: int) -> int:
        before = schedule.states(step)
        between = rates[before[0] - 1 : step - 1]  # states are saved before their step's update
        ahead = math.fsum(rates[step - 1 : step - 1 + schedule.reach(step)])
        movement = math.fsum(between) / len(between) * schedule.spacing  # of one state to the next
        return max(round(min(ahead / movement, schedule.horizon(step))), 1) if movement else 1

    return [shortened(step) for step in schedule.nowcasts(total_steps)]


@dataclass(frozen=True)
class Schedule:
    """Which steps save a state or are a nowcast, and how far each nowcast reaches; steps count from 1.

    With the paper's numbers (period 1000, context 5, spacing 200) steps 200, 400, ..., 1000 save a state before their
    update, and step 1000 is a nowcast.

    Args:
        period: steps between nowcasts.
        context: states c that a nowcast reads, and so the number of states kept.
        spacing: steps between two of these states; the last one is saved at the nowcast itself.
        horizons: k of the first, second, ... nowcast, in states; the last one serves all that follow.

    Raises:
        ValueError: for a number out of its range, or states that do not fit into a period; names the argument, its
            value and what is allowed.
    """

    period: int
    context: int
    spacing: int
    horizons: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse a schedule that no training can follow; see the class."""
        if self.period < 1:
            raise ValueError(f"`period` (={self.period}) must be at least 1 step")
        if self.context < 1:
            raise ValueError(f"`context` (={self.context}) must be at least 1 state")
        if self.spacing < 1 or self.spacing * (self.context - 1) >= self.period:
            raise ValueError(
                f"`spacing` (={self.spacing}) must be at least 1 step, and {self.context} states that far apart must "
                f"fit into one `period` (={self.period}): at most {(self.period - 1) // max(self.context - 1, 1)}"
            )
        if not self.horizons or min(self.horizons) < 1:
            raise ValueError(f"`horizons` (={list(self.horizons)}) must hold one number or more, each at least 1 state")

    @classmethod
    def make(
        cls,
        *,
        period: int,
        context: int,
        spacing: int | None = None,
        horizons: int | Sequence[int] | None = None,
        max_train_steps: int | None = None,
        max_horizon: int = 40,
        power: float = 2.0,
    ) -> Schedule:
        """A schedule whose spacing and horizons may be left out: period / context, and the paper's k-decay.

        Args:
            period: steps between nowcasts.
            context: states c a nowcast reads.
            spacing: steps between states; None takes ``period / context``, which must be whole.
            horizons: a fixed k, a list of them (one a nowcast), or None for the decay by ``max_horizon`` and ``power``.
            max_train_steps: T, steps of the whole run; may be None where ``horizons`` are given.
            max_horizon: k of the first nowcast of the decay, in states.
            power: p of the decay.

        Raises:
            ValueError: names the argument, its value and what is allowed.

        >>> Schedule.make(period=1000, context=5, max_train_steps=3000)
        Schedule(period=1000, context=5, spacing=200, horizons=(40, 13, 1))
        """
        if spacing is None:
            if context < 1 or period % context:
                raise ValueError(
                    f"`period` (={period}) must be divisible by `context` (={context}), so that the states are equally "
                    f"far apart: pass {max(period // max(context, 1), 1) * max(context, 1)}, or give `spacing` yourself"
                )
            spacing = period // context
        if max_train_steps is not None and max_train_steps < period:
            _horizons(max_train_steps, period)  # raises the error that says so
        if horizons is None:
            if max_train_steps is None:
                raise ValueError(
                    "`max_train_steps` (=None) is needed for the decay of the horizon k: pass the number of steps of "
                    "the whole run, or `horizons` (one number, or one a nowcast)"
                )
            horizons = _horizons(max_train_steps, period, max_horizon, power)
        return cls(period, context, spacing, (horizons,) if isinstance(horizons, int) else tuple(horizons))

    def nowcasts(self, steps: int) -> range:
        """The steps of a run that are nowcasts.

        Args:
            steps: of the whole run.

        >>> list(Schedule(period=1000, context=5, spacing=200, horizons=(40,)).nowcasts(2500))
        [1000, 2000]
        """
        return range(self.period, steps + 1, self.period)

    def is_nowcast(self, step: int) -> bool:
        """Whether step ``step`` is a nowcast."""
        return step % self.period == 0

    def states(self, nowcast: int) -> range:
        """The steps that save the states which the nowcast at step ``nowcast`` reads, oldest first.

        >>> list(Schedule(period=1000, context=5, spacing=200, horizons=(40,)).states(2000))
        [1200, 1400, 1600, 1800, 2000]
        """
        return range(nowcast - self.spacing * (self.context - 1), nowcast + 1, self.spacing)

    def horizon(self, step: int) -> int:
        """The horizon k, in states, of the nowcast at ``step`` or, between nowcasts, of the next one."""
        number = max(-(-step // self.period), 1)
        return self.horizons[min(number, len(self.horizons)) - 1]

    def reach(self, step: int) -> int:
        """How many steps ahead the nowcast at ``step`` (or the next one) looks: its horizon times the spacing."""
        return self.horizon(step) * self.spacing

    def slot(self, step: int) -> int | None:
        """Which of the ``context`` states step ``step`` saves before its update; None where it saves none.

        >>> schedule = Schedule(period=10, context=3, spacing=2, horizons=(1,))
        >>> [schedule.slot(step) for step in range(5, 17)]
        [None, 0, None, 1, None, 2, None, None, None, None, None, 0]
        """
        back, rest = divmod(-step % self.period, self.spacing)
        return None if rest or back >= self.context else self.context - 1 - back

    def next_save(self, step: int) -> int:
        """The first step after ``step`` that saves a state."""
        nowcast = self.next_nowcast(step)
        first = nowcast - self.spacing * (self.context - 1)
        return max(first, nowcast - (nowcast - step - 1) // self.spacing * self.spacing)

    def next_nowcast(self, step: int) -> int:
        """The first step after ``step`` that is a nowcast."""
        return (step // self.period + 1) * self.period


_horizons = horizons  # `Schedule.make` has an argument of this name
