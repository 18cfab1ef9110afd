"""Recording a model's neural graph from one forward pass."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.utils._pytree import tree_flatten, tree_map

from nino.graphs.forward import as_call, output_tensors
from nino.graphs.graph import NeuralGraph
from nino.graphs.recorded.assemble import assemble
from nino.graphs.recorded.calls import plain_kernels
from nino.graphs.recorded.reading import Reading, fresh_axes
from nino.graphs.recorded.recorder import Recorder
from nino.graphs.recorded.values import Value
from nino.graphs.weights import Weights, check_placeable


class ReturnsNothingError(Exception):
    """The forward has run, and nothing that it returned holds a tensor."""


#: What fake tensors raise where the forward looks at values.
_VALUES = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException)


def record_graph(model: nn.Module, example: Any, topology: str = "exact") -> NeuralGraph:
    """The neural graph of a model, read off the operations of one forward pass.

    The pass runs on fake tensors, which have shapes and no elements; where the forward looks at values of activations,
    on the example itself. Parameters that the pass in training mode does not read are sought in evaluation mode.

    Args:
        model: an unwrapped model; may be on the meta device. Neither it nor random states are changed.
        example: a tensor, a tuple of positional or a dict of keyword inputs.
        topology: name kept in the graph.

    Returns:
        The graph. What cannot be placed is in ``carried``, with the operation that stopped it in ``reasons``.

    Raises:
        ValueError: if the model has complex, quantised or uninitialised parameters, does not run on the example, or
            returns no tensor.
    """
    check_placeable(model.named_parameters())
    args, kwargs = as_call(example)
    state: set[str] = set()
    while True:
        reading, written = _read(model, args, kwargs, state)
        if written <= state:
            return assemble(reading, state, topology)
        state |= written


def _read(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], state: set[str]) -> tuple[Reading, set[str]]:
    """Read the forward on fake tensors; where these will not do, on the example itself."""
    fakes = FakeTensorMode(allow_non_fake_inputs=True)
    reading, written, errors = _passes(model, args, kwargs, state, fakes)
    if len(errors) < 2 and not any(isinstance(error, _VALUES) for error in errors):
        return reading, written
    tensors = [*model.parameters(), *model.buffers(), *tree_flatten((args, kwargs))[0]]
    on_meta = any(t.device.type == "meta" for t in tensors if isinstance(t, Tensor))
    if not on_meta:
        reading, written, errors_of_real = _passes(model, args, kwargs, state, None)
        if len(errors_of_real) < 2:
            return reading, written
        errors = errors_of_real
    looked = next((error for error in errors if on_meta and isinstance(error, _VALUES)), errors[0])
    raise ValueError(_complaint(model, args, kwargs, looked)) from looked


def _passes(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], state: set[str], fake: FakeTensorMode | None
) -> tuple[Reading, set[str], list[Exception]]:
    """A pass in training mode and, if that leaves parameters out, one in evaluation mode; and what they raised."""
    parameters = [(name, tuple(p.shape)) for name, p in model.named_parameters()]
    buffers = dict(model.named_buffers())
    reading = Reading(Weights([*parameters, *((name, tuple(buffers[name].shape)) for name in sorted(state))]))
    seen: set[str] = set()
    written: set[str] = set()
    errors: list[Exception] = []
    for training in (True, False):
        with _untouched(model, training):
            try:
                recorder = _pass(model, args, kwargs, reading, state, fake)
            except Exception as error:  # the model's own code: kept, and raised where no mode runs
                errors.append(error)
                continue
        seen |= recorder.seen
        written |= recorder.written
        if all(name in seen for name, _ in parameters):
            break
    return reading, written, errors


def _complaint(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> str:
    shapes = [tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in args]
    named = {k: tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__ for k, x in kwargs.items()}
    first = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, ReturnsNothingError):
        return (
            f"{type(model).__name__}: the forward returns {first}, in which there is no tensor: which neurons are "
            f"outputs is not known; return them, in a tuple, a dict or an object with attributes"
        )
    if isinstance(error, _VALUES):
        return (
            f"{type(model).__name__}: the forward looks at values ({type(error).__name__}: {first}), and tensors on "
            f"the meta device have none: materialise the model (model.to_empty(device='cpu')) and the inputs first"
        )
    return (
        f"{type(model).__name__}: the forward does not run on `example` {shapes or ''}{named or ''} "
        f"({type(error).__name__}: {first}): pass the inputs that training passes, a tensor, a tuple or a dict"
    )


@contextmanager
def _untouched(model: nn.Module, training: bool) -> Iterator[None]:
    """The model in a mode, and afterwards as it was: forwards keep computed weights and tables in attributes."""
    modules = list(model.modules())
    was = [({k: _shallow(v) for k, v in vars(m).items()}, m) for m in modules]
    for m in modules:
        m.training = training
    try:
        yield
    finally:
        for attributes, m in was:
            for name in [name for name in vars(m) if name not in attributes]:
                del vars(m)[name]
            for name, (value, content) in attributes.items():
                if type(value) is dict:
                    value.clear()
                    value.update(content)
                elif type(value) is list:
                    value[:] = content
                vars(m)[name] = value


def _shallow(value: Any) -> tuple[Any, Any]:
    """An attribute, and what it holds where it can be changed in place."""
    return value, type(value)(value) if type(value) in (dict, list) else None


def _pass(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    reading: Reading,
    state: set[str],
    fake: FakeTensorMode | None,
) -> Recorder:
    recorder = Recorder(reading, model, state, fake)
    names = _argument_names(model, args, kwargs)

    def enter(tensor: Any) -> Any:
        if not isinstance(tensor, Tensor):
            return tensor
        axes = fresh_axes(tuple(tensor.shape))
        for dim in axes:
            for axis in dim:
                reading.inputs[axis] = names.get(id(tensor), "input")
        exact = not tensor.is_floating_point() and not tensor.is_complex() and tensor.device.type != "meta"
        value = Value(
            axes, path=hash(("input", len(inputs))), elements=tensor.detach().cpu().clone() if exact else None
        )
        if fake is not None:
            with fake:
                tensor = torch.empty(tuple(tensor.shape), dtype=tensor.dtype, device="cpu")
        else:
            tensor = tensor.detach()
        recorder.give(tensor, value)
        inputs.append(tensor)
        return tensor

    inputs: list[Tensor] = []
    args, kwargs = tree_map(enter, (args, kwargs))
    with plain_kernels(), torch.compiler.set_stance("force_eager"):
        if fake is not None:
            with fake, recorder:
                output = model(*args, **kwargs)
        else:
            try:
                with recorder:
                    output = model(*args, **kwargs)
            finally:
                recorder.restore()
    outputs = output_tensors(output)
    if not outputs:
        raise ReturnsNothingError(type(output).__name__)
    for tensor in outputs:
        value = recorder.value(tensor)
        if value.kind == "data":
            for f in value.fields:
                reading.neurons.fix(f.labels, "output")
    return recorder


def _argument_names(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int, str]:
    try:
        bound = inspect.signature(model.forward).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return {}
    return {id(x): name for name, x in bound.items() if isinstance(x, Tensor)}
