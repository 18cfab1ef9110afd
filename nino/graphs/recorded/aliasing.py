"""Tensors that share memory: what is written through one of them is read through all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from nino.graphs.recorded.reading import Reading, fresh_axes
from nino.graphs.recorded.rules import Call, rule_for
from nino.graphs.recorded.rules.concatenations import joined
from nino.graphs.recorded.rules.views import reshaped, taken
from nino.graphs.recorded.values import Axis, Dim, Value, substitute


@dataclass(slots=True)
class View:
    """How a tensor is seen in another one.

    Args:
        base: the other one.
        func: the operation.
        name: its name.
        args: its arguments by name, tensors as values.
        which: number of the output.
        shape: of the tensor.
    """

    base: Tensor
    func: Any
    name: str
    args: dict[str, Any]
    which: int
    shape: tuple[int, ...]

    @property
    def start(self) -> int:
        """First index of a piece that a split gave."""
        sizes: Any = self.args.get("split_size", self.args.get("split_sizes"))
        return self.which * sizes if isinstance(sizes, int) else sum(sizes[: self.which])

    def of(self, r: Reading, base: Value) -> Value:
        """What the view is of another content of its base."""
        if self.name in ("alias", "detach"):
            return base
        if self.name in ("view", "_unsafe_view", "reshape"):
            return reshaped(r, base, self.shape)
        if "split" in self.name:
            d = self.args["dim"] % len(base.dims)
            return taken(r, base, d, np.arange(self.start, self.start + self.shape[d]))
        first = next(name for name, a in self.args.items() if isinstance(a, Value))
        outputs = (torch.empty(self.shape, device="meta"),)
        made = rule_for(self.name, self.func)(r, Call(self.name, self.func, {**self.args, first: base}, outputs))
        value = made if isinstance(made, Value) else made[self.which]
        assert value is not None
        return value

    def back(self, r: Reading, base: Value, value: Value) -> Value:
        """What the base is once its view has been written."""
        args = self.args
        if self.name in ("alias", "detach"):
            return value
        if self.name in ("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze"):
            return reshaped(r, value, base.shape)
        if self.name in ("transpose", "t"):
            i, j = (args["dim0"], args["dim1"]) if self.name == "transpose" else (0, 1)
            dims = list(value.dims)
            dims[i], dims[j] = dims[j], dims[i]
            return value.but(dims=tuple(dims))
        if self.name == "select":
            d, index = args["dim"] % len(base.dims), args["index"] % base.shape[args["dim"]]
            return _patched(r, base, value.but(dims=(*value.dims[:d], (), *value.dims[d:])), d, range(index, index + 1))
        if self.name == "slice":
            d = args["dim"] % len(base.dims)
            chosen = range(base.shape[d])[slice(args.get("start"), args.get("end"), args.get("step", 1))]
            return _patched(r, base, value, d, chosen)
        if "split" in self.name:
            d = args["dim"] % len(base.dims)
            return _patched(r, base, value, d, range(self.start, self.start + value.shape[d]))
        r.tell_apart(base, base.axes, f"a {self.name} of it is written in place")
        r.tell_apart(value, value.axes, f"written in place through a {self.name}")
        return Value(fresh_axes(base.shape))


def _patched(r: Reading, base: Value, value: Value, d: int, chosen: range) -> Value:
    """A tensor with a range of a dimension replaced."""
    size = base.shape[d]
    if chosen.step != 1:
        r.tell_apart(base, base.axes, "a slice with steps of it is written in place")
        r.tell_apart(value, value.axes, "written in place into a slice with steps")
        return Value(fresh_axes(base.shape))
    if len(chosen) == size:
        return value
    left = taken(r, base, d, np.arange(chosen.start)) if chosen.start else None
    right = taken(r, base, d, np.arange(chosen.stop, size)) if chosen.stop < size else None
    return joined(r, [p for p in (left, value, right) if p is not None], d)


class Aliases:
    """What tensors are, with what has been written through other views of the same memory.

    Args:
        reading: the reading.
    """

    def __init__(self, reading: Reading) -> None:
        """See the class."""
        self.reading = reading
        self.values: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.views: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._pending: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._made: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._written: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._clock = 0

    def __contains__(self, tensor: Tensor) -> bool:
        """Whether something is known of a tensor."""
        return tensor in self.values

    def give(self, tensor: Tensor, value: Value) -> None:
        """Say what a tensor is."""
        self._clock += 1
        self.values[tensor], self._made[tensor] = value, self._clock

    def get(self, tensor: Tensor) -> Value | None:
        """What a tensor is by now; None where nothing is known of it."""
        value: Value | None = self.values.get(tensor)
        for view in self._pending.pop(tensor, ()):  # written since the tensor was last read
            written = self.get(view)
            if value is not None and written is not None and {written.kind, value.kind} != {"constant"}:
                value = self.views[view].back(self.reading, value, written)
                self.give(tensor, value)
        if tensor in self.views and self._stale(tensor):
            view = self.views[tensor]
            base = self.get(view.base)
            if base is not None and base.window is None and base.kind != "constant":
                # written through another view, or as a whole; what is known of constants shares memory itself
                value = view.of(self.reading, base)
                self.give(tensor, value)
        if value is not None and value.kind == "constant" and self._stale(tensor):
            # one part of it is written
            alike: dict[Axis, Dim] = {x: (Axis(x.size, place=x.place),) for x in value.axes if x.uniform}
            value = substitute(value, alike)
            self.give(tensor, value)
        return value

    def _stale(self, tensor: Tensor) -> bool:
        """Whether memory that a tensor sees has been written since it was said what the tensor is."""
        return self._written.get(self.root(tensor), -1) > self._made.get(tensor, 0)

    def write(self, tensor: Tensor, value: Value) -> None:
        """Say what has been written into a tensor."""
        self.give(tensor, value)
        self._written[self.root(tensor)] = self._clock
        while tensor in self.views:
            base = self.views[tensor].base
            waiting = self._pending.setdefault(base, [])
            if all(view is not tensor for view in waiting):
                waiting.append(tensor)
            tensor = base

    def root(self, tensor: Tensor) -> Tensor:
        """The tensor that one is a view of in the end."""
        while tensor in self.views:
            tensor = self.views[tensor].base
        return tensor
