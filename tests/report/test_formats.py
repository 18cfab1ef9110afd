from __future__ import annotations

import pytest

from nino.report.formats import number


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(-0.04, 1, "0.0"), (-1.25, 1, "−1.2"), (float("inf"), 0, "∞"), (-float("inf"), 0, "−∞")],
)
def test_numbers(value: float, digits: int, text: str) -> None:
    assert number(value, digits) == text
