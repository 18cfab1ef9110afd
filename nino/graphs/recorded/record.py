"""Recording a model's neural graph from one forward pass."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._pytree import tree_flatten, tree_map

from nino.graphs.graph import NeuralGraph
from nino.graphs.recorded.assemble import assemble
from nino.graphs.recorded.reading import Reading, fresh_axes
from nino.graphs.recorded.recorder import Recorder, plain_kernels
from nino.graphs.recorded.values import Value
from nino.graphs.weights import Weights

Example = Any


def record_graph(model: nn.Module, example: Example, topology: str = "exact") -> tuple[NeuralGraph, dict[str, str]]:
    """The neural graph of a model, read off the operations of one forward pass.

    Args:
        model: an unwrapped model; may be on the meta device.
        example: a tensor, a tuple of positional or a dict of keyword inputs.
        topology: name kept in the graph.

    Returns:
        The graph, and for each parameter that it carries the operation that stopped it.

    Raises:
        ValueError: if the forward does not run on the example.
    """
    args, kwargs = as_call(example)
    state: set[str] = set()
    while True:
        reading, written = _read(model, args, kwargs, state)
        if written <= state:
            return assemble(reading, state, topology)
        state |= written


def as_call(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of an example input."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, tuple):
        if len(example) == 2 and isinstance(example[0], tuple) and isinstance(example[1], dict):
            return example
        return example, {}
    return (example,), {}


def _read(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], state: set[str]
) -> tuple[Reading, set[str]]:
    """Read the forward in training mode and, if that leaves parameters out, in evaluation mode too."""
    parameters = [(name, tuple(p.shape)) for name, p in model.named_parameters()]
    buffers = dict(model.named_buffers())
    reading = Reading(Weights([*parameters, *((name, tuple(buffers[name].shape)) for name in sorted(state))]))
    seen: set[str] = set()
    written: set[str] = set()
    errors: list[Exception] = []
    for training in (True, False):
        with _mode(model, training):
            try:
                recorder = _run(model, args, kwargs, reading, state)
            except Exception as error:  # the model's own code: kept, and raised where no mode runs
                errors.append(error)
                continue
        seen |= recorder.seen
        written |= recorder.written
        if all(name in seen for name, _ in parameters):
            break
    if len(errors) == 2:
        raise errors[0]
    return reading, written


@contextmanager
def _mode(model: nn.Module, training: bool) -> Iterator[None]:
    was = [(m, m.training) for m in model.modules()]
    for m in model.modules():
        m.training = training
    try:
        yield
    finally:
        for m, flag in was:
            m.training = flag


def _run(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], reading: Reading, state: set[str]
) -> Recorder:
    """One pass on fake tensors; on real ones where the forward looks at values."""
    try:
        return _pass(model, args, kwargs, reading, state, FakeTensorMode(allow_non_fake_inputs=True))
    except (DataDependentOutputException, DynamicOutputShapeException):
        buffers = {name: b.detach().clone() for name, b in model.named_buffers() if b.device.type != "meta"}
        try:
            return _pass(model, args, kwargs, reading, state, None)
        finally:
            with torch.no_grad():
                for name, b in model.named_buffers():
                    if name in buffers:
                        b.copy_(buffers[name])


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
        value = Value(axes, known=tensor.detach().cpu() if exact else None)
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
            with recorder:
                output = model(*args, **kwargs)
    for tensor in output_tensors(output):
        value = recorder.value(tensor)
        if value.kind == "data":
            for f in value.fields:
                reading.neurons.fix(f.labels, "output")
    return recorder


def output_tensors(output: Any) -> list[Tensor]:
    """The tensors that a model returns, without caches of keys and values."""
    if hasattr(output, "to_tuple") and hasattr(output, "keys"):
        output = {k: v for k, v in output.items() if k not in ("past_key_values", "cache_params", "mems")}
    return [x for x in tree_flatten(output)[0] if isinstance(x, Tensor)]


def _argument_names(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int, str]:
    try:
        bound = inspect.signature(model.forward).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return {}
    return {id(x): name for name, x in bound.items() if isinstance(x, Tensor)}
