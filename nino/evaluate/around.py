"""The training loss of the steps around each nowcast: how high a jump throws it, and how soon it is back."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from torch import Tensor

COLUMNS = ("step", "offset", "loss")
REACH = 20  # steps on either side


class LossesAround:
    """Keeps the loss that each step has anyway, before its update and on its own batch, near nowcasts.

    Steps before a nowcast do not reach back to the nowcast before it, and those after it end where the next one is.
    A row at offset 0 is a nowcast that was put back: the base optimizer took its step.
    """

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._before: deque[tuple[int, Tensor | float]] = deque(maxlen=REACH)
        self._rows: list[tuple[int, int, Tensor | float]] = []
        self._nowcast: int | None = None

    def nowcast(self, step: int) -> None:
        """A nowcast is about to take step ``step``."""
        self._rows += [(step, earlier - step, loss) for earlier, loss in self._before]
        self._before.clear()
        self._nowcast = step

    def step(self, step: int, loss: Tensor | float) -> None:
        """Step ``step`` had a loss; a tensor is left where it is, so that nothing waits for it."""
        if self._nowcast is not None and step <= self._nowcast + REACH:
            self._rows.append((self._nowcast, step - self._nowcast, loss))
        self._before.append((step, loss))

    def rows(self) -> list[dict[str, Any]]:
        """Rows of ``around.csv``: the nowcast's step, a step's place relative to it, and that step's loss."""
        self._rows = [(step, offset, float(loss)) for step, offset, loss in self._rows]
        return [dict(zip(COLUMNS, row, strict=True)) for row in self._rows]

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` needs to go on."""
        before = [(step, float(loss)) for step, loss in self._before]
        return {"before": before, "rows": self.rows(), "nowcast": self._nowcast}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state_dict`` was called."""
        self._before = deque(((step, loss) for step, loss in state["before"]), maxlen=REACH)
        self._rows = [(row["step"], row["offset"], row["loss"]) for row in state["rows"]]
        self._nowcast = state["nowcast"]
