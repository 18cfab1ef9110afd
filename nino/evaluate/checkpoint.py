"""A long run survives being killed: what it has done so far lies beside its results."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nino.evaluate.loop import EvaluatedTraining
from nino.files import replacing

logger = logging.getLogger(__name__)

SHARE = 0.05  # of a run's time that writing checkpoints may take: a large model's are written less often


class Checkpoint:
    """The checkpoint of one job: written now and then, read once, removed at the end.

    Args:
        path: the file.
        job: what tells this job from others; a checkpoint of another one is not used.
        seconds: least time between two of them.
    """

    def __init__(self, path: Path, job: str, seconds: float) -> None:
        """See the class."""
        self.path = path
        self._job = job
        self._seconds = seconds
        self._due = time.monotonic() + seconds

    def maybe_save(self, run: EvaluatedTraining) -> None:
        """Write the run's state if it is time to; writing is charged to none of the run's clocks."""
        start = time.monotonic()
        if start < self._due or run.finished:
            return
        run.pause()
        with replacing(self.path) as temporary:
            torch.save({"job": self._job, "run": compact(run.state_dict())}, temporary)
        end = time.monotonic()
        self._due = end + max(self._seconds, (end - start) / SHARE)

    def restore(self, run: EvaluatedTraining) -> None:
        """Put the run where the checkpoint left it; without a usable one it starts over, and the log says why."""
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return
        except Exception as error:  # zip, pickle and end-of-file errors of many types: all mean that it is damaged
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
        """Delete the file, if there is one."""
        self.path.unlink(missing_ok=True)


def compact(state: Any) -> Any:
    """The same nested state with each tensor that is a part of a larger one copied: a file would hold the whole."""
    if isinstance(state, Tensor):
        return state.clone() if state.untyped_storage().nbytes() > state.nbytes else state
    if isinstance(state, dict):
        return {key: compact(value) for key, value in state.items()}
    return type(state)(compact(value) for value in state) if isinstance(state, list | tuple) else state
