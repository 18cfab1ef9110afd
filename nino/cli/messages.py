"""What an error says to the person who typed the command; None where it is no fault of theirs."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from nino.extras import advice

# Where code lies that is not the user's own: this package, and what is installed.
INSTALLED = {Path(__file__).resolve().parents[1]} | {
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
}
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
    if (place := _in_own_code(error)) is not None:
        return f"{place}: {type(error).__name__}: {_one_line(error)}"
    if isinstance(error, TOLD) or type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        text = str(error) or type(error).__name__
        cause = error.__cause__ and _in_own_code(error.__cause__)  # of importing a file of the user's own
        return f"{text} ({cause})" if cause else text
    if isinstance(error, ModuleNotFoundError):
        return advice(error)
    return None


def _in_own_code(error: BaseException) -> str | None:
    """File and line of the user's own code that an error came through last; None where it came through none."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{_near(Path(error.filename))}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_file() and INSTALLED.isdisjoint(file.resolve().parents):
            return f"{_near(file)}:{frame.lineno}"
    return None


def _near(file: Path) -> str:
    """A path as people would write it here."""
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _one_line(error: Exception) -> str:
    return " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
