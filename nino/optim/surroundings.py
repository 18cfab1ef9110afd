"""What others put around the wrapper: compilers, wrappers with attributes of their own, programs without logging."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from itertools import islice
from traceback import walk_stack
from typing import Any, ParamSpec, TextIO, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

SETTINGS = ("enabled", "loss", "accept", "update_scale", "verbose")
DEPTH = 16  # calls between a wrapper's `step` and ours


def outside_graphs(function: Callable[P, T]) -> Callable[P, T]:
    """Keep ``torch.compile`` out of a function and all that it calls, without loading the compiler before its time."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return torch.compiler.disable(function)(*args, **kwargs)

    return run


def refuse_lost_settings(opt: Any) -> None:
    """Refuse settings that were assigned to a wrapper around the optimizer, such as accelerate's: they never reach it.

    Args:
        opt: the optimizer, during a step that such a wrapper may have called.

    Raises:
        AttributeError: names the attribute and where it belongs.
    """
    for frame, _ in islice(walk_stack(sys._getframe(1)), DEPTH):
        outer = frame.f_locals.get("self")
        if not isinstance(outer, torch.optim.Optimizer) or isinstance(outer, type(opt)):
            continue
        attributes = vars(outer)
        inner = next((name for name, value in attributes.items() if value is opt), None)
        lost = next((name for name in SETTINGS if name in attributes), None)
        if inner is not None and lost is not None:
            raise AttributeError(
                f"`{lost}` was set on a {type(outer).__name__}, which does not pass it on: set it on the optimizer "
                f"inside, `opt.{inner}.{lost} = ...`, and delete it here, `del opt.{lost}`"
            )


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stderr`` is at the time, where the program has set up no logging of its own."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter("nino: %(message)s"))

    @property
    def stream(self) -> Any:  # type: ignore[override]
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            super().emit(record)


def reach_the_user(log: logging.Logger) -> None:
    """Let a logger's lines of level INFO reach the user as warnings do: the program's handlers, else stderr.

    A level that the program has set for the logger stays.
    """
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    if not any(isinstance(handler, _ToStderr) for handler in log.handlers):
        log.addHandler(_ToStderr())
