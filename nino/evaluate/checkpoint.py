"""Checkpoints, from which a run that was killed continues."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nino.evaluate.loop import EvaluatedTraining
from nino.files import replacing, require_whole_archive

logger = logging.getLogger(__name__)

SHARE = 0.05  # of a run's time that writing checkpoints may take: those of a large model are written less often


class Checkpoint:
    """The checkpoint of a job: written now and then, read at the start, deleted at the end.

    Args:
        path: the file.
        job: identifies the job; a checkpoint of another job is not used.
        seconds: least time between two checkpoints.
        allowed: called before each is written; raises where this process may not.
    """

    def __init__(self, path: Path, job: str, seconds: float, allowed: Callable[[], None] = lambda: None) -> None:
        """See the class."""
        self.path = path
        self._allowed = allowed
        self._job = job
        self._seconds = seconds
        self._due = time.monotonic() + seconds

    def maybe_save(self, run: EvaluatedTraining) -> None:
        """Save the run's state if it is time to; no part of the run's clock is charged for that."""
        start = time.monotonic()
        if start < self._due or run.finished:
            return
        run.pause()
        self._allowed()
        with replacing(self.path) as temporary:
            torch.save({"job": self._job, "run": compact(run.state_dict())}, temporary)
        end = time.monotonic()
        self._due = end + max(self._seconds, (end - start) / SHARE)

    def restore(self, run: EvaluatedTraining) -> None:
        """Load the checkpoint into the run; without a usable one the run starts over, and the log says why."""
        try:
            require_whole_archive(self.path)
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return
        except (
            Exception
        ) as error:  # many types of zip, pickle and end-of-file errors, all of which mean that it is damaged
            logger.warning("%s cannot be read (%s): starting over", self.path, error)
            return
        if saved.get("job") != self._job:
            logger.warning(
                "%s is of another job (its task, method, seed, schedule or data differ): starting over", self.path
            )
            return
        run.load_state_dict(saved["run"])
        logger.info("%s: going on after step %d", self.path, run.training.steps)

    def remove(self) -> None:
        """Delete the file if there is one."""
        self.path.unlink(missing_ok=True)


def compact(state: Any) -> Any:
    """A nested state with copies of those tensors that are views of larger ones, which a file would hold as a whole."""
    if isinstance(state, Tensor):
        return state.clone() if state.untyped_storage().nbytes() > state.nbytes else state
    if isinstance(state, dict):
        return {key: compact(value) for key, value in state.items()}
    return type(state)(compact(value) for value in state) if isinstance(state, list | tuple) else state
