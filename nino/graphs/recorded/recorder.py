"""One forward pass, operation by operation: what each tensor is made of."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from nino.graphs.recorded.aliasing import Aliases, View
from nino.graphs.recorded.calls import by_name, name_of, plain_stride, strides_of, tensors_in, written_by
from nino.graphs.recorded.names import ALIKE, ARRANGED, COPIES, FILLED, RANDOM, VIEWS
from nino.graphs.recorded.paths import path_of
from nino.graphs.recorded.reading import Reading, fresh_axes
from nino.graphs.recorded.rules import Call, rule_for
from nino.graphs.recorded.untouched import viewed, weight_of
from nino.graphs.recorded.values import Value, axes_for

log = logging.getLogger("nino.graphs")

#: Constants of more elements are not computed; they are taken to tell everything apart.
KNOWN = 1 << 24


class Recorder(TorchDispatchMode):
    """Follows what every operation does to neurons while the forward runs.

    Args:
        reading: what is known of neurons and parameters so far.
        model: the model, whose parameters and buffers are told by identity.
        state: names of buffers that the forward writes.
        fake: the mode of fake tensors; None runs on real ones.
    """

    def __init__(self, reading: Reading, model: nn.Module, state: set[str], fake: FakeTensorMode | None) -> None:
        """See the class."""
        super().__init__()
        self.reading, self.fake = reading, fake
        self.aliases = Aliases(reading)
        self.twins: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.seen: set[str] = set()
        self.written: set[str] = set()
        self.state = state
        self.buffers: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.originals: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.saved: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._keep: list[Tensor] = []
        self._paths = 0
        for tensor in [*model.parameters(), *model.buffers()]:
            self.originals[tensor] = True
        for name, parameter in model.named_parameters():
            self.give(parameter, weight_of(reading, name))
        for name, buffer in model.named_buffers():
            self.buffers[buffer] = name
            if fake is None:  # batch norm writes them without saying so
                self.saved[buffer] = buffer.detach().clone()
            if name in state:
                self.give(buffer, weight_of(reading, name))

    # -- tensors -------------------------------------------------------------------------------------------------------

    def give(self, tensor: Tensor, value: Value) -> None:
        """Say what a tensor is."""
        self.aliases.give(tensor, value)

    def value(self, tensor: Tensor) -> Value:
        """What a tensor is: a constant where nothing is known of it."""
        with self._real():
            value = self.aliases.get(tensor)
        if value is None:
            real = None
            self._paths += 1
            path = hash(("tensor", self._paths))
            if not isinstance(tensor, FakeTensor) and tensor.device.type != "meta" and tensor.numel() <= KNOWN:
                with self._real():
                    real = tensor.detach().cpu().clone()  # in-place operations write what is known
                    path = hash(("number", real.item())) if real.numel() == 1 else path
            value = Value(fresh_axes(tuple(tensor.shape)), kind="constant", elements=real, path=path)
            self.give(tensor, value)
        for name in value.made_of:
            self.seen.add(name)
        if "numbered" in value.extra:  # the numbers of largest elements, which somebody reads
            self.reading.tell_apart(*value.extra["numbered"])
        return value

    def stand_in(self, tensor: Tensor) -> Tensor:
        """A fake tensor in the place of a real one."""
        if self.fake is None or isinstance(tensor, FakeTensor):
            return tensor
        twin = self.twins.get(tensor)
        if twin is None:
            with self.fake:
                twin = torch.empty_strided(tuple(tensor.shape), strides_of(tensor), dtype=tensor.dtype, device="cpu")
            self.twins[tensor] = twin
            self.give(twin, self.value(tensor))
            self._keep.append(tensor)
        return twin

    # -- operations ----------------------------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation, and note what it makes."""
        kwargs = dict(kwargs or {})
        if func.namespace == "prim":  # a tensor's device, layout and the like
            return func(*args, **kwargs)
        name, in_place = name_of(func)
        if name == "as_strided":
            name = plain_stride(*args[:3])
        computed = self._computed(func, name, args, kwargs)
        if name == "_local_scalar_dense" and computed is not None:
            return computed
        if self.fake is not None:
            run_args, run_kwargs = tree_map(self._as_fake, (args, kwargs))
        else:
            run_args, run_kwargs = args, kwargs
        if in_place and self.fake is None:
            self._save(func, args, kwargs)
        before = {id(t): self.value(t) for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)}
        result = func(*run_args, **run_kwargs)
        outputs = tensors_in(result)
        call_args = tree_map(lambda x: before[id(x)] if isinstance(x, Tensor) else x, (args, kwargs))
        with self._real():
            made = self._make(func, name, call_args, outputs, computed)
        for tensor, value in zip(outputs, made, strict=True):
            if tensor is not None and value is not None:
                self.give(tensor, value)
        if in_place:
            with self._real():
                self._write(func, args, kwargs, made)
            first = args[0] if args and isinstance(args[0], Tensor) else None
            return first if first is not None and isinstance(result, Tensor) and "out" not in kwargs else result
        if name in VIEWS and args and isinstance(args[0], Tensor):
            for i, tensor in enumerate(outputs):
                if tensor is not None:
                    given = by_name(func, *call_args)
                    self.aliases.views[tensor] = View(args[0], func, name, given, i, tuple(tensor.shape))
        return result

    def _as_fake(self, x: Any) -> Any:
        if isinstance(x, Tensor):
            return self.stand_in(x)
        return torch.device("cpu") if isinstance(x, torch.device) else x

    def _make(
        self, func: Any, name: str, call_args: Any, outputs: tuple[Tensor | None, ...], computed: Any
    ) -> list[Value | None]:
        """What an operation's outputs are."""
        args = by_name(func, *call_args)
        call = Call(name, func, args, outputs)
        values = call.values
        if all(v.kind == "constant" for v in values) and name not in ("empty",):
            made: Any = self._constant(call)
        elif len(values) and values[0].window is not None and name in VIEWS | COPIES and values[0].kind == "weight":
            made = viewed(self.reading, call, values[0])
        else:
            made = self._ruled(call)
        self._note_readers(call)
        path = path_of(call)
        made = [made] * len(outputs) if isinstance(made, Value) else list(made)
        made += [None] * (len(outputs) - len(made))
        reals = tensors_in(computed) if computed is not None else (None,) * len(outputs)
        weights = frozenset().union(*(v.made_of for v in values)) if values else frozenset()
        out: list[Value | None] = []
        for tensor, value, real in zip(outputs, made, reals, strict=True):
            if tensor is None or value is None:
                out.append(None)
                continue
            changes: dict[str, Any] = {"elements": real}
            if value.kind == "weight":
                changes["made_of"] = value.made_of | weights
            if value.window is None:
                value = replace(value, **changes)
            value = replace(value, path=path)
            if tensor.dtype == torch.bool:
                value = replace(value, extra={**value.extra, "bool": True})
            out.append(value)
        return out

    def _note_readers(self, call: Call) -> None:
        """Which operations have read parameters without saying where these lie."""
        if call.name not in ARRANGED | COPIES | FILLED | RANDOM:
            for value in call.values:
                if value.window is not None and not self.reading.placed(value):
                    for name in value.made_of:
                        self.reading.readers.setdefault(name, call.name)

    def _ruled(self, call: Call) -> Any:
        """What the operation's rule gives; where it cannot be followed after all, what is said of an unknown one."""
        rule = rule_for(call.name, call.func)
        try:
            made = rule(self.reading, call)
            values = [made] if isinstance(made, Value) else made
            for tensor, value in zip(call.outputs, values, strict=False):
                if tensor is not None and value is not None and value.shape != tuple(tensor.shape):
                    raise ValueError(f"its rule gives {value.shape}, not {tuple(tensor.shape)}")
        except Exception as error:  # the graph stays right: what the operation touches is fixed, its parameters carried
            log.info("%s is taken for unknown (%s: %s)", call.name, type(error).__name__, error)
            return rule_for("unknown", call.func)(self.reading, call)
        return made

    def _constant(self, call: Call) -> list[Value | None]:
        """Constants of constants: positions, or, if drawn at random or filled, all alike."""
        alike = call.name in FILLED | RANDOM
        if call.name in VIEWS | COPIES | ALIKE or torch.Tag.pointwise in call.func.tags:
            alike |= bool(call.values) and all(x.uniform for v in call.values for x in v.axes)
        return [
            None if t is None else Value(axes_for(tuple(t.shape), uniform=alike), kind="constant") for t in call.outputs
        ]

    # -- constants -----------------------------------------------------------------------------------------------------

    def _computed(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """What an operation gives where all that it reads is known, computed on real tensors."""
        if self.fake is None and name == "_local_scalar_dense":
            return None
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        values = [self.value(t) for t in tensors]
        if name in RANDOM and name not in ("rand", "randn", "randint", "randperm", "normal", "uniform"):
            return None
        if any(v.elements is None for v in values) or (not values and name in ("empty", "empty_strided")):
            return None
        real_of = {id(t): v.elements for t, v in zip(tensors, values, strict=True)}
        real = tree_map(
            lambda x: (
                real_of[id(x)] if isinstance(x, Tensor) else torch.device("cpu") if isinstance(x, torch.device) else x
            ),
            (args, kwargs),
        )
        try:
            with self._real():
                out = func(*real[0], **real[1])
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            return None
        if any(t is not None and t.numel() > KNOWN for t in tensors_in(out)):
            return None
        return out

    @contextmanager
    def _real(self) -> Iterator[None]:
        if self.fake is None:
            yield
        else:
            with unset_fake_temporarily():
                yield

    def _save(self, func: Any, args: Any, kwargs: Any) -> None:
        """Keep what parameters and buffers hold before a pass on real tensors writes them."""
        for tensor in written_by(func, args, kwargs):
            if isinstance(tensor, Tensor) and tensor in self.originals and tensor not in self.saved:
                self.saved[tensor] = tensor.detach().clone()

    def restore(self) -> None:
        """Put back what the pass has written to parameters and buffers."""
        with torch.no_grad():
            for tensor, value in self.saved.items():
                tensor.copy_(value)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _write(self, func: Any, args: Any, kwargs: Any, made: list[Value | None]) -> None:
        """In-place operations: the tensor, and what it is a view of, are what was written."""
        written = [t for t in written_by(func, args, kwargs) if isinstance(t, Tensor)]
        for tensor, value in zip(written, made, strict=False):
            if value is not None:
                self._assign(tensor, value)

    def _assign(self, tensor: Tensor, value: Value) -> None:
        name = self.buffers.get(tensor)
        if name is not None:
            self.written.add(name)
            return
        root = self.aliases.root(tensor)  # a parameter is written through its ``data`` and other views of it too
        old = self.aliases.values.get(root)
        if isinstance(root, nn.Parameter) and old is not None and root in self.originals:
            self.reading.stop(old.made_of | value.made_of, "written in place")
        self.aliases.write(tensor, value)
        twin = self.twins.get(tensor)
        if twin is not None:
            self.give(twin, value)
