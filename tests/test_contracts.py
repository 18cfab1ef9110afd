"""How contracts are checked: what a check says, and what it lets through."""

from __future__ import annotations

from collections.abc import Iterator

from nino.contracts import attempt


def _form(value: int) -> Iterator[str]:
    if value < 0:
        yield "form: negative"
    if value > 1:
        yield "form: above 1"
        raise ValueError("too large\nby far")


def test_sentences_are_those_of_the_check_and_an_error_is_one_in_a_line() -> None:
    assert attempt(_form, 0) == []
    assert attempt(_form, -1) == ["form: negative"]
    assert attempt(_form, 2) == ["form: above 1", "form: raised ValueError: too large"]
