"""What happened at a nowcast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NowcastRecord:
    """One nowcast; fields not known yet, or not measured, are None.

    Args:
        step: the step whose place it takes, counting from 1.
        k: horizon in states.
        seconds: spent on predicting, checking and writing, and on the losses where ``accept="loss"`` needs them.
        norm: L2 norm of the parameters' change, over the parameters that are written.
        finite: whether every new value is finite in its parameter's dtype.
        accepted: whether the parameters were changed.
        loss_before: loss before, where there is something to measure it with.
        loss_after: loss after; above ``loss_before`` or NaN where ``accept="loss"`` put the parameters back.
    """

    step: int
    k: int
    seconds: float | None = None
    norm: float | None = None
    finite: bool | None = None
    accepted: bool | None = None
    loss_before: float | None = None
    loss_after: float | None = None

    def numbers(self) -> dict[str, float]:
        """Everything known but the step, as numbers for a logger.

        >>> NowcastRecord(1000, 40, accepted=True).numbers()
        {'k': 40.0, 'accepted': 1.0}
        """
        return {key: float(value) for key, value in vars(self).items() if value is not None and key != "step"}

    def __str__(self) -> str:
        """One line for a log.

        >>> print(NowcastRecord(1000, 40, 0.5, 12.25, True, True))
        step 1000: nowcast k=40 kept (0.50 s, norm 12.2)
        >>> print(NowcastRecord(1000, 40, 0.5, 12.25, True, False, 0.25, 0.5))
        step 1000: nowcast k=40 put back (0.50 s, norm 12.2, loss 0.25 -> 0.5)
        """
        notes = []
        if self.seconds is not None:
            notes.append(f"{self.seconds:.2f} s")
        if self.finite is False:
            notes.append("not finite")
        elif self.norm is not None:
            notes.append(f"norm {self.norm:.3g}")
        if self.loss_before is not None:
            after = "not measured" if self.loss_after is None else f"{self.loss_after:.4g}"
            notes.append(f"loss {self.loss_before:.4g} -> {after}")
        return f"step {self.step}: nowcast k={self.k} {'kept' if self.accepted else 'put back'} ({', '.join(notes)})"
