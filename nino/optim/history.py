"""The last c states of a training's parameters, copied without making the training wait."""

from __future__ import annotations

import math
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nino.device import pins_memory, wait_for_copies
from nino.optim.shards import Shards
from nino.ranks import Ranks

Place = Literal["auto", "cpu", "pinned", "device", "disk"]
PLACES = ("auto", "cpu", "pinned", "device", "disk")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
MOST_STATES = 64


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

    Attributes:
        shards: which part of each parameter is saved, where processes share them; None saves whole parameters.
        whole: the saved states of all processes, once ``gather`` has joined them.

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
        self.shards: Shards | None = None
        self.whole: Tensor | None = None
        self._parameters = list(parameters)
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
    def shapes(self) -> list[tuple[int, ...]]:
        """Of what is saved of each parameter."""
        held = self._parameters if self.shards is None else self.shards.graph.parameters
        return [tuple(p.shape) for p in held]

    @property
    def size(self) -> int:
        """Numbers in a state."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer once the first state is saved."""
        return self.context * self.size * self.dtype.itemsize

    @torch.no_grad()
    def save(self, slot: int, present: Sequence[Tensor] | None = None) -> None:
        """Copy the parameters' present values into ``slot``; later slots are forgotten.

        Args:
            slot: number of the state.
            present: what to copy in place of whole parameters, such as these in higher precision.

        Raises:
            ValueError: for a slot that would leave a gap.
        """
        if not 0 <= slot <= min(len(self), self.context - 1):
            raise ValueError(
                f"`slot` (={slot}) must be {len(self)}, the next one, or an earlier one, below {self.context}"
            )
        del self._finite[slot:]
        self.whole = None
        parameters = (present or self._parameters) if self.shards is None else list(self.shards)
        self._finite.append(within(parameters, self.dtype))
        for view, parameter in zip(self._rows()[slot], parameters, strict=True):
            view.copy_(parameter, non_blocking=True)  # into page-locked memory; elsewhere it blocks all the same

    @property
    def finite(self) -> bool:
        """Whether every saved state was finite and not beyond ``largest``."""
        self._finite = [bool(flag) for flag in self._finite]
        return all(self._finite)

    def states(self) -> Float[Tensor, "params states"]:
        """The saved states, oldest first: a view of the buffer."""
        self._wait()
        return self._allocated()[: len(self)].T

    def clear(self) -> None:
        """Forget the states; the buffer stays for the next ones."""
        self._finite.clear()
        self.whole = None

    def gather(self, ranks: Ranks) -> None:
        """Join what all processes hold into ``whole``, at rank 0, until the next state is saved."""
        if self.shards is not None:
            everywhere = ranks.to_first((self.shards.boxes, self.rows()))
            if everywhere is not None:
                self.whole = self.shards.join(*zip(*everywhere, strict=True))

    def by_parameter(self) -> list[Tensor]:
        """Of each parameter all c states as one view ``(states, *shape)``, saved or not."""
        self._wait()
        parts = self._allocated().split([math.prod(shape) for shape in self.shapes], dim=1)
        return [part.view(self.context, *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def spread(self) -> list[Tensor]:
        """Of each parameter all c states, as ``DTensor`` views of the buffer where processes share them."""
        views = self.by_parameter()
        if self.shards is None:
            return views
        whole = [p.shape for p in self.shards.graph.whole.parameters]
        placed = zip(self.shards.shards, views, whole, strict=True)
        return [shard.states(view, (self.context, *shape)) for shard, view, shape in placed]

    def rows(self) -> Float[Tensor, "states params"]:
        """A copy of the saved states, oldest first, that later steps leave alone."""
        if not len(self):
            return torch.empty(0, self.size, dtype=self.dtype)
        self._wait()
        return self._allocated()[: len(self)].detach().cpu().clone()

    @torch.no_grad()
    def load(self, rows: Float[Tensor, "states params"] | None, saved: int, finite: bool, context: int) -> None:
        """Take over saved states.

        Args:
            rows: the states, oldest first; None where they have been written into ``spread()``.
            saved: how many there are.
            finite: whether all of them are.
            context: states that will be kept, c.
        """
        if context != self.context:
            self.context, self._buffer, self._views = context, None, []
        self._finite = [finite] * saved
        self.whole = None
        if saved and rows is not None:
            self._allocated()[:saved].copy_(rows)

    def allocate(self) -> None:
        """Make room for the states, where there is none."""
        self._allocated()

    def _wait(self) -> None:
        """Wait for the copies into page-locked memory, which the host is about to read."""
        for device in self._devices():
            wait_for_copies(device)

    def _devices(self) -> set[torch.device]:
        return {p.device for p in self._parameters}

    def _allocated(self) -> Tensor:
        if self._buffer is None:
            self._buffer = self._allocate()
        return self._buffer

    def _allocate(self) -> Tensor:
        shape = (self.context, self.size)
        if self.place == "disk" and self.size:
            file = tempfile.NamedTemporaryFile(prefix="nino-history-", dir=self.directory, delete=False)
            file.close()
            weakref.finalize(self, Path(file.name).unlink, missing_ok=True)
            count = self.context * self.size
            return torch.from_file(file.name, shared=True, size=count, dtype=self.dtype).view(shape)
        device = self._parameters[0].device if self.place == "device" else torch.device("cpu")
        # Only now, as the model may have moved to a GPU since it was handed over.
        pinned = self.place in ("auto", "pinned") and any(map(pins_memory, self._devices()))
        return torch.empty(shape, dtype=self.dtype, device=device, pin_memory=pinned)

    def _rows(self) -> list[list[Tensor]]:
        """For every slot, views of the buffer in the shapes of the parameters, whatever their memory formats."""
        if not self._views:
            self._views = [list(row) for row in zip(*self.by_parameter(), strict=True)]
        return self._views


def largest(dtype: torch.dtype, numbers: int) -> float:
    """The largest magnitude of a value in a state that a nowcast accepts.

    It fits the dtype of the history. If every number in ``MOST_STATES`` states were that large, float32 would still
    hold the sum of their squares, which nowcasters need to measure how much the states scatter.

    Args:
        dtype: of the history.
        numbers: in a state.

    >>> largest(torch.float16, 10), f"{largest(torch.float32, 10**9):.1e}"
    (65504.0, '7.3e+13')
    """
    return min(torch.finfo(dtype).max, math.sqrt(torch.finfo(torch.float32).max / (MOST_STATES * max(numbers, 1))))


def within(tensors: Sequence[Tensor], dtype: torch.dtype = torch.float32) -> Tensor | bool:
    """Whether no value is NaN or beyond ``largest``, as a tensor still being computed where they are.

    >>> bool(within([torch.ones(2), torch.tensor(3.0)])), bool(within([torch.tensor(1e6)], torch.float16))
    (True, False)
    """
    tensors = [t.detach() for t in tensors if t.numel()]
    if not tensors:
        return True
    # The maximum norm is one fused operation a device; NaN compares false.
    limit = largest(dtype, sum(t.numel() for t in tensors))
    return torch.nn.utils.get_total_norm(tensors, norm_type=float("inf")) <= limit
