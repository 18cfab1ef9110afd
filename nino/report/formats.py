"""Numbers as text: what tables, notes and captions print."""

from __future__ import annotations

import numpy as np

EMPTY = "–"


def number(value: float, digits: int = 0) -> str:
    """A number with ``digits`` decimals; a dash for NaN.

    >>> number(1234.56, 1), number(float("nan"))
    ('1234.6', '–')
    """
    if np.isnan(value):
        return EMPTY
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    # adding zero turns a rounded -0.0 into 0.0
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def significant(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits; a dash for NaN.

    >>> significant(0.012345), significant(1234567.0)
    ('0.0123', '1.23e+06')
    """
    return EMPTY if np.isnan(value) else f"{value:.{digits}g}".replace("-", "−").replace("e−", "e-")


def mean_std(mean: float, std: float, digits: int = 0) -> str:
    """A mean with its sample standard deviation, if it has one.

    >>> mean_std(520.0, 31.2), mean_std(520.0, float("nan"))
    ('520 ± 31', '520')
    """
    return number(mean, digits) if np.isnan(std) else f"{number(mean, digits)} ± {number(std, digits)}"


def interval_text(low: float, high: float, digits: int = 1) -> str:
    """An interval in brackets; a dash where there is none.

    >>> interval_text(-1.0, 2.25), interval_text(float("nan"), float("nan"))
    ('[−1.0, 2.2]', '–')
    """
    return EMPTY if np.isnan(low) else f"[{number(low, digits)}, {number(high, digits)}]"


def percent(value: float) -> str:
    """A percentage with one decimal.

    >>> percent(46.44)
    '46.4 %'
    """
    return f"{value:.1f} %".replace("-", "−")


def counted(count: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "task"), counted(2, "task")
    ('1 task', '2 tasks')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def fewer_steps(speedup: float) -> str:
    """A speed-up in percent as an amount of steps.

    >>> fewer_steps(46.44), fewer_steps(-3.0)
    ('46.4 % fewer steps', '3.0 % more steps')
    """
    return f"{abs(speedup):.1f} % {'fewer' if speedup >= 0 else 'more'} steps"
