"""The last states of a run as Hugging Face folders, for nowcasts outside the run (``nino step``)."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import nn

from nino.evaluate.run_folder import STATES
from nino.files import replacing_folder, write_sums
from nino.offline.checkpoints import numbered
from nino.specs import MethodSpec, ScheduleSpec
from nino.specs.method_schedule import method_schedule
from nino.training import Training


class StateFolders:
    """Writes states to ``checkpoint-<step>`` and deletes all but the last ones.

    Args:
        folder: of the states.
        every: steps between two states.
        count: states that stay: one more than a nowcast reads, so that it can read while the next one is written.
        model: the network that is trained.

    Raises:
        ValueError: for a model without ``save_pretrained``.
    """

    def __init__(self, folder: Path, every: int, count: int, model: nn.Module) -> None:
        """See the class."""
        if not hasattr(model, "save_pretrained"):
            raise ValueError(
                f"evaluation.checkpoint_every (={every}) writes folders of Hugging Face models, and "
                f"{type(model).__name__} is none: leave it out"
            )
        self._folder, self._every, self._count = folder, every, count

    def due(self, step: int) -> bool:
        """Whether to write the state that step ``step`` starts from."""
        return step % self._every == 0

    def write(self, model: nn.Module, step: int) -> None:
        """Write the state that step ``step`` starts from, whole or not at all."""
        target = self._folder / f"checkpoint-{step}"
        if target.exists():  # of an attempt that was killed
            shutil.rmtree(target)
        with replacing_folder(target) as temporary:
            model.save_pretrained(temporary)  # type: ignore[operator]
            write_sums(temporary)
        for _, path in numbered(self._folder, "checkpoint-*")[: -self._count]:
            shutil.rmtree(path)


def state_folders(training: Training, method: MethodSpec, schedule: ScheduleSpec, out_dir: Path) -> StateFolders | None:
    """Where a run writes its states; None if its task does not ask for that."""
    if (every := training.task.spec.evaluation.checkpoint_every) is None:
        return None
    count = method_schedule(method, schedule).context + 1
    return StateFolders(out_dir / STATES, every, count, training.model)
