"""Where in the user's own code an error was raised, rather than in this package or in what is installed."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

# Where code lies that is not the user's own: this package, and what is installed.
INSTALLED = {Path(__file__).resolve().parent} | {
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
}


def user_line(error: BaseException) -> str | None:
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
