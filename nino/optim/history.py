"""The last c states of a training's parameters, copied without making the training wait."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

Place = Literal["auto", "cpu", "pinned", "device", "disk"]
PLACES = ("auto", "cpu", "pinned", "device", "disk")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class History:
    """Up to c states of P parameters in one buffer of ``c * P * itemsize`` bytes, allocated at the first state.

    Args:
        parameters: tensors in ``named_parameters`` order; a state is their values, each flattened row by row.
        context: c, states kept.
        place: ``cpu``; ``pinned`` (page-locked memory: the copy from a GPU runs while the host goes on); ``device``
            (beside the parameters); ``disk`` (a memory-mapped file); ``auto`` takes ``pinned`` for parameters on a GPU,
            else ``cpu``.
        dtype: float32 (default), float16 or bfloat16.
        directory: folder of the file for ``disk``; None takes the system's temporary folder. The file is removed with
            the history.
        hold: whether to store the states. False only counts them and notes whether they are finite, which is all that
            the ranks need that do not compute nowcasts.

    Raises:
        ValueError: for an unknown place or dtype.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        context: int,
        place: Place = "auto",
        dtype: torch.dtype = torch.float32,
        directory: str | Path | None = None,
        hold: bool = True,
    ) -> None:
        """See the class."""
        if place not in PLACES:
            raise ValueError(f"`history` (={place!r}) must be one of {', '.join(PLACES)}")
        if dtype not in DTYPES:
            raise ValueError(f"`history_dtype` (={dtype}) must be float32, float16 or bfloat16")
        self.place = place
        self.context = context
        self.dtype = dtype
        self.directory = directory
        self.hold = hold
        self._parameters = list(parameters)
        self.size = sum(p.numel() for p in parameters)
        self._buffer: Tensor | None = None
        self._views: list[list[Tensor]] = []
        self._finite: list[Tensor | bool] = []

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the views into the buffer: a copy of the history has a buffer, and so views, of its own."""
        return {**self.__dict__, "_views": []}

    def __len__(self) -> int:
        """States saved."""
        return len(self._finite)

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer once the first state is saved."""
        return self.context * self.size * self.dtype.itemsize if self.hold else 0

    @torch.no_grad()
    def save(self, slot: int) -> None:
        """Copy the parameters' present values into ``slot``; later slots are forgotten.

        Raises:
            ValueError: for a slot that would leave a gap.
        """
        if not 0 <= slot <= min(len(self), self.context - 1):
            raise ValueError(
                f"`slot` (={slot}) must be {len(self)}, the next one, or an earlier one, below {self.context}"
            )
        del self._finite[slot:]
        self._finite.append(within(self._parameters, self.dtype))
        if self.hold:
            for view, parameter in zip(self._rows()[slot], self._parameters, strict=True):
                view.copy_(parameter, non_blocking=True)  # into page-locked memory; elsewhere it blocks all the same

    @property
    def finite(self) -> bool:
        """Whether every saved state was finite and fits the history's dtype."""
        self._finite = [bool(flag) for flag in self._finite]
        return all(self._finite)

    def states(self) -> Float[Tensor, "params states"]:
        """The saved states, oldest first: a view of the buffer."""
        self._wait()
        return self._allocated()[: len(self)].T

    def clear(self) -> None:
        """Forget the states; the buffer stays for the next ones."""
        self._finite.clear()

    def rows(self) -> Float[Tensor, "states params"]:
        """A copy of the saved states, oldest first, that later steps leave alone."""
        if not len(self) or not self.hold:
            return torch.empty(0, self.size, dtype=self.dtype)
        self._wait()
        return self._allocated()[: len(self)].detach().cpu().clone()

    @torch.no_grad()
    def load(self, rows: Float[Tensor, "states params"], saved: int, finite: bool, context: int) -> None:
        """Take over saved states.

        Args:
            rows: the states, oldest first; none of them where this history stores none.
            saved: how many there are.
            finite: whether all of them are.
            context: states that will be kept, c.
        """
        if context != self.context:
            self.context, self._buffer, self._views = context, None, []
        self._finite = [finite] * saved
        if self.hold and saved:
            self._allocated()[:saved].copy_(rows)

    def _wait(self) -> None:
        """Wait for the copies into page-locked memory, which the host is about to read."""
        for device in self._gpus():
            torch.cuda.current_stream(device).synchronize()

    def _gpus(self) -> set[torch.device]:
        return {p.device for p in self._parameters if p.device.type == "cuda"}

    def _allocated(self) -> Tensor:
        if self._buffer is None:
            self._buffer = self._allocate()
        return self._buffer

    def _allocate(self) -> Tensor:
        shape = (self.context, self.size)
        if self.place == "disk":
            file = tempfile.NamedTemporaryFile(prefix="nino-history-", dir=self.directory, delete=False)
            file.close()
            weakref.finalize(self, Path(file.name).unlink, missing_ok=True)
            count = self.context * self.size
            return torch.from_file(file.name, shared=True, size=count, dtype=self.dtype).view(shape)
        device = self._parameters[0].device if self.place == "device" else torch.device("cpu")
        # Only now, as the model may have moved to a GPU since it was handed over.
        pinned = bool(self._gpus()) and self.place in ("auto", "pinned")
        return torch.empty(shape, dtype=self.dtype, device=device, pin_memory=pinned)

    def _rows(self) -> list[list[Tensor]]:
        """For every slot, views of the buffer in the shapes of the parameters, whatever their memory formats."""
        if not self._views:
            sizes = [p.numel() for p in self._parameters]
            self._views = [
                [part.view(p.shape) for part, p in zip(row.split(sizes), self._parameters, strict=True)]
                for row in self._allocated()
            ]
        return self._views


def within(tensors: Sequence[Tensor], dtype: torch.dtype = torch.float32) -> Tensor | bool:
    """Whether all values are finite in ``dtype``, as a tensor still being computed where they are.

    >>> bool(within([torch.ones(2), torch.tensor(3.0)])), bool(within([torch.tensor(1e6)], torch.float16))
    (True, False)
    """
    tensors = [t.detach() for t in tensors if t.numel()]
    if not tensors:
        return True
    # The maximum norm is one fused operation a device; NaN compares false.
    return torch.nn.utils.get_total_norm(tensors, norm_type=float("inf")) <= torch.finfo(dtype).max
