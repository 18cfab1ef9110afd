"""Numbers as text: what tables, notes and captions print."""

from __future__ import annotations

import numpy as np

EMPTY = "–"


def number(value: float, digits: int = 0, bound: str = "") -> str:
    """A number with ``digits`` decimals, after the sign of a bound; a dash for NaN.

    >>> number(1234.56, 1), number(float("nan")), number(-5.0, 1, "≥")
    ('1234.6', '–', '≥ −5.0')
    """
    if np.isnan(value):
        return EMPTY
    if bound:
        return f"{bound} {number(value, digits)}"
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


def between_text(low: float, high: float, kind: str, digits: int = 1) -> str:
    """An interval in brackets, the range of two or three seeds without: it is none; a dash where there is neither.

    >>> between_text(-1.0, 2.25, "bootstrap"), between_text(-1.0, 2.25, "range")
    ('[−1.0, 2.2]', '−1.0 to 2.2')
    """
    if kind == "range":
        return f"{number(low, digits)} to {number(high, digits)}"
    return interval_text(low, high, digits)


def percent(value: float, bound: str = "") -> str:
    """A percentage with one decimal, after the sign of a bound.

    >>> percent(46.44), percent(-3.0, "≥")
    ('46.4 %', '≥ −3.0 %')
    """
    return f"{number(value, 1, bound)} %"


def counted(count: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "task"), counted(2, "task")
    ('1 task', '2 tasks')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def fewer_steps(speedup: float, than: str, bound: str = "") -> str:
    """A speed-up in percent as an amount of steps beside another's; of a bound, which way it lies.

    >>> fewer_steps(46.44, "Adam"), fewer_steps(-3.0, "Adam"), fewer_steps(0.0, "Adam")
    ('46.4 % fewer steps than Adam', '3.0 % more steps than Adam', 'as many steps as Adam')
    >>> fewer_steps(46.44, "Adam", "≥"), fewer_steps(-3.0, "Adam", "≤")
    ('at least 46.4 % fewer steps than Adam', 'at least 3.0 % more steps than Adam')
    >>> fewer_steps(0.0, "Adam", "≤"), fewer_steps(3.0, "Adam", "≈")
    ('at least as many steps as Adam', '3.0 % fewer steps than Adam, misses at the budget')
    """
    percents = f"{abs(speedup):.1f} %"
    none, fewer = percents == "0.0 %", speedup > 0
    amount = f"as many steps as {than}" if none else f"{percents} {'fewer' if fewer else 'more'} steps than {than}"
    least, most = ("≥", "≤") if fewer and not none else ("≤", "≥")  # of the amount of steps that is named
    side = {least: "at least ", most: "at most "}.get(bound, "")
    return f"{side}{amount}{', misses at the budget' if bound == '≈' else ''}"
