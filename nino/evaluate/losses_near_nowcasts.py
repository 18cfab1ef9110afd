"""The training loss of the steps near each nowcast: how much a nowcast raises it, and how soon it is back."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nino.evaluate.run_folder import LOSS_COLUMNS

REACH = 20  # steps on either side


class LossesNearNowcasts:
    """Keeps the losses that steps near nowcasts compute anyway: before the update, on the step's own batch.

    The steps before a nowcast begin after the previous one, and the steps after it end at the next one. A row with
    offset 0 belongs to a nowcast that was rejected: the base optimizer took the step instead.
    """

    def __init__(self) -> None:
        """Start without any step."""
        self._before: deque[tuple[int, Tensor | float]] = deque(maxlen=REACH)
        self._rows: list[tuple[int, int, Tensor | float]] = []
        self._nowcast: int | None = None

    def nowcast(self, step: int) -> None:
        """Record that step ``step`` is about to be a nowcast."""
        self._rows += [(step, earlier - step, loss) for earlier, loss in self._before]
        self._before.clear()
        self._nowcast = step

    def step(self, step: int, loss: Tensor | float) -> None:
        """Record the loss of step ``step``; a tensor stays on its device, so that nothing waits for it."""
        if self._nowcast is not None and step <= self._nowcast + REACH:
            self._rows.append((self._nowcast, step - self._nowcast, loss))
        self._before.append((step, loss))

    def rows(self) -> list[dict[str, Any]]:
        """Rows of ``around.csv``: the step of the nowcast, another step relative to it, and the loss of that step."""
        self._rows = [(step, offset, float(loss)) for step, offset, loss in self._rows]
        return [dict(zip(LOSS_COLUMNS, row, strict=True)) for row in self._rows]

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to continue."""
        before = [(step, float(loss)) for step, loss in self._before]
        return {"before": before, "rows": self.rows(), "nowcast": self._nowcast}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._before = deque(((step, loss) for step, loss in state["before"]), maxlen=REACH)
        self._rows = [(row["step"], row["offset"], row["loss"]) for row in state["rows"]]
        self._nowcast = state["nowcast"]
