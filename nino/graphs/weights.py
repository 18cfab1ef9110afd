"""A model's parameters by name, and strided windows on the flat vector that they lie on one after another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from nino.graphs.core import Parameter, WeightView


class Weights:
    """The parameters of a model as meta tensors on one flat vector, of which only offsets and strides are kept.

    Args:
        parameters: the model, or (name, shape) of all its parameters in ``named_parameters`` order.

    Attributes:
        parameters: where each lies.

    >>> weights = Weights([("weight", (3, 2)), ("bias", (3,))])
    >>> weights.window(weights.view("weight")[1:].T)[1], weights.view("weight")[1:].T.storage_offset()
    ('weight', 2)
    """

    def __init__(self, parameters: nn.Module | Iterable[tuple[str, tuple[int, ...]]]) -> None:
        """See the class."""
        if isinstance(parameters, nn.Module):
            parameters = [(name, tuple(p.shape)) for name, p in parameters.named_parameters()]
        self.parameters: list[Parameter] = []
        offset = 0
        for name, shape in parameters:
            self.parameters.append(Parameter(name, offset, tuple(shape)))
            offset += self.parameters[-1].numel
        self._flat = torch.empty(offset, device="meta")
        self._starts = [p.offset for p in self.parameters]
        self._by_name = {_plain(p.name): p for p in self.parameters}

    def __contains__(self, name: str) -> bool:
        """Whether there is a parameter of this name (a tied one only under its first name)."""
        return _plain(name) in self._by_name

    def __getitem__(self, name: str) -> Parameter:
        """The parameter of this name, compiled submodules' marks aside."""
        return self._by_name[_plain(name)]

    def view(self, name: str) -> Tensor:
        """A parameter as a meta tensor of its shape, its offset and strides those on the flat vector.

        Raises:
            ValueError: if there is no such parameter.
        """
        if name not in self:
            raise ValueError(f"no parameter {name!r}: the model has {some(self._by_name)}")
        parameter = self[name]
        return self._flat[parameter.slice].view(parameter.shape)

    def window(self, weight: str | Tensor) -> tuple[Tensor, str]:
        """A window, and the name of the parameter that it lies in.

        Args:
            weight: a parameter's name, or a window on what ``view`` gave.

        Raises:
            ValueError: for any other tensor.
        """
        w = self.view(weight) if isinstance(weight, str) else weight
        if w.untyped_storage()._cdata != self._flat.untyped_storage()._cdata:
            raise ValueError("`weight` is no window on a parameter of this builder: take one from builder.weight(name)")
        index = bisect_right(self._starts, w.storage_offset()) - 1
        while not self.parameters[index].numel and index:
            index -= 1
        return w, self.parameters[index].name


def check_placeable(parameters: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse parameters that have no place on a flat vector of real numbers, and say what to do.

    Args:
        parameters: by name.

    Raises:
        ValueError: names the first one.
    """
    for name, parameter in parameters:
        if isinstance(parameter, UninitializedParameter):
            raise ValueError(f"parameter {name!r} has no shape yet: run the model once before its graph is made")
        if parameter.is_quantized:
            raise ValueError(
                f"parameter {name!r} is quantised: only real floating point lies on a graph; make it a buffer"
            )
        if parameter.is_complex():
            raise ValueError(
                f"parameter {name!r} is complex ({parameter.dtype}): only real floating point lies on a graph; make it "
                f"two real numbers (torch.view_as_complex in the forward) or, where it is not trained, a buffer"
            )


def some(names: Iterable[str], limit: int = 6) -> str:
    """The first few parameters' names, quoted, and how many more there are.

    >>> some(["a"]), some(["a", "b", "c"], limit=2)
    ("parameter 'a'", "parameters 'a', 'b' and 1 more")
    """
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{'parameter' if len(names) == 1 else 'parameters'} {', '.join(map(repr, names[:limit]))}{more}"


def _plain(name: str) -> str:
    """A parameter's name without the marks of compiled submodules."""
    return name.replace("_orig_mod.", "")


def view_of(w: Shaped[Tensor, "sources targets features"]) -> WeightView:
    """Where a block's window lies on the flat vector: its offset and strides."""
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


def scrambled_rows(w: Shaped[Tensor, "rows columns"]) -> Iterator[tuple[slice, slice, Tensor]]:
    """Cut a table whose elements are laid down column by column on edges counted row by row into strided windows.

    Args:
        w: the table.

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
