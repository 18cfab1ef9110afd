"""Windows on the flat parameter vector, taken with the views of a meta tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

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


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """Equally spaced windows of one shape as a single one.

    Args:
        parts: at least two windows, each as far behind the one before.

    Returns:
        ``(*shape, parts)``: the window whose last dimension counts them.

    Raises:
        ValueError: for windows that differ in shape or strides, or are not equally spaced.

    >>> import torch
    >>> flat = torch.arange(6)
    >>> stacked([flat[0:2], flat[2:4], flat[4:6]]).tolist()
    [[0, 2, 4], [1, 3, 5]]
    """
    first = parts[0]
    steps = {int(b.storage_offset()) - int(a.storage_offset()) for a, b in pairwise(parts)}
    if len(steps) != 1 or any((p.shape, p.stride()) != (first.shape, first.stride()) for p in parts):
        shapes = [tuple(p.shape) for p in parts]
        raise ValueError(f"`parts` of shapes {shapes} are not equally spaced windows of one shape")
    return first.as_strided((*first.shape, len(parts)), (*first.stride(), *steps), first.storage_offset())


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
