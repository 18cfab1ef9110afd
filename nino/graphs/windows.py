"""Windows on the flat parameter vector, taken with the views of a meta tensor."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from nino.graphs.core import WeightView


def view_of(w: Tensor) -> WeightView:
    """Where a (S, T, F) window lies: its offset and strides."""
    source, target, position = w.stride()
    return WeightView(int(w.storage_offset()), (source, target, position))


def positions(w: Tensor, neurons: int, name: str) -> Tensor:
    """Flatten the kernel dimensions, those after the first ``neurons``, without copying."""
    try:
        return w.view(*w.shape[:neurons], -1) if w.ndim > neurons else w.unsqueeze(neurons)
    except RuntimeError as error:
        raise ValueError(f"weight {name!r}: the kernel dimensions of this window are not contiguous") from error


def scrambled_rows(w: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Cut a table whose elements are laid down column by column on edges counted row by row into strided windows.

    Args:
        w: (R, d).

    Yields:
        Sources, targets, and the (sources, targets) window of the elements that lie between them.
    """
    rows, d = w.shape
    for j in range(d):
        done = 0
        while done < rows:
            source, target = divmod(j * rows + done, d)
            if target or rows - done < d:  # the rest of a row of edges, or the beginning of one
                run = min(d - target, rows - done)
                yield slice(source, source + 1), slice(target, target + run), w[done : done + run, j].unsqueeze(0)
            else:
                full = (rows - done) // d
                run = full * d
                yield slice(source, source + full), slice(0, d), w[done : done + run, j].unflatten(0, (full, d))
            done += run
