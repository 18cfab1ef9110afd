"""What an error says to the person who typed the command; None where it is no fault of theirs."""

from __future__ import annotations

from nino.extras import advice
from nino.user_code import user_line

# What a command raises to say what is wrong with what it was given, in a sentence.
TOLD = (ValueError, OSError, MemoryError, FloatingPointError)


def message(error: Exception) -> str | None:
    """What to print of an error, without its traceback.

    Args:
        error: what ended a command.

    Returns:
        The error's own sentence; before it file and line, where code of the user's own raised it. None for an error
        of this package, such as a TypeError in one of its functions.
    """
    if (place := user_line(error)) is not None:
        return f"{place}: {type(error).__name__}: {_one_line(error)}"
    if isinstance(error, TOLD) or type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        text = str(error) or type(error).__name__
        cause = error.__cause__ and user_line(error.__cause__)  # of importing a file of the user's own
        return f"{text} ({cause})" if cause and cause not in text else text
    if isinstance(error, ModuleNotFoundError):
        return advice(error)
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
